//! The passes, and the order in which they run.

use crate::context::Context;
use crate::error::PassError;
use crate::{
    bind_dims, fold, fold_scale, fusion, layout, legalize, merge, merge_products, narrow_products, precision,
    recognize, simplify, store_narrow,
};
use gable_ir::Module;

/// A pass: one row of [`PASSES`].
#[derive(Debug)]
pub struct Pass {
    /// Its name on the command line, in dumps and in messages.
    pub name: &'static str,
    /// What it does, in one sentence.
    pub doc: &'static str,
    /// The pass itself.
    pub run: fn(&mut Module, &mut Context) -> Result<(), PassError>,
    /// Passes that must have run before, wherever this one stands, and why.
    pub after: &'static [(&'static str, &'static str)],
}

/// Every pass.
pub const PASSES: &[Pass] = &[
    Pass {
        name: "bind-dims",
        doc: "Replaces named dimensions by their values and infers every type anew.",
        run: bind_dims::run,
        after: &[],
    },
    Pass {
        name: "fold",
        doc: "Computes what depends on constants and weights alone.",
        run: fold::run,
        after: &[("bind-dims", "sizes decide what is worth storing")],
    },
    Pass {
        name: "simplify",
        doc: "Rewrites that give the same bits with fewer or cheaper ops.",
        run: simplify::run,
        after: &[("fold", "rules look for constants, which shape arithmetic hides")],
    },
    Pass {
        name: "cse",
        doc: "Makes one value of values that are the same op of the same operands.",
        run: merge::common_subexpressions,
        after: &[("bind-dims", "equal sizes may have had different names")],
    },
    Pass { name: "dce", doc: "Removes values and weights that no output needs.", run: merge::dead_values, after: &[] },
    Pass {
        name: "recognize",
        doc: "Finds composite ops in graphs that spell them out.",
        run: recognize::run,
        after: &[
            ("simplify", "each form is looked for in one spelling: constants last, squares as products"),
            ("cse", "the same value must be one value to be seen as the same"),
        ],
    },
    Pass {
        name: "fold-scale",
        doc: "Multiplies constant scales per channel into the weights before them.",
        run: fold_scale::run,
        after: &[
            ("fold", "a scale is computed from a variance and must be one constant by now"),
            ("recognize", "a norm's scale or an attention's is part of what is looked for"),
        ],
    },
    Pass {
        name: "layout",
        doc: "Puts channels last for convolutions and all that can follow them.",
        run: layout::run,
        after: &[("recognize", "a group norm is looked for with channels first")],
    },
    Pass {
        name: "legalize",
        doc: "Decomposes the composite ops that no kernel has an anchor for.",
        run: legalize::run,
        after: &[
            ("bind-dims", "decompositions depend on token counts and on row lengths"),
            ("recognize", "what is taken apart here would be found again there"),
            ("layout", "a softmax over channels is along the last axis only then"),
        ],
    },
    Pass {
        name: "narrow-products",
        doc: "Multiplies factors as they are stored where a graph widens them first, and takes scales out of products.",
        run: narrow_products::run,
        after: &[
            ("fold-scale", "a scale that leaves a product would be multiplied into its weights again"),
            ("legalize", "attention shows its contractions only then"),
        ],
    },
    Pass {
        name: "precision",
        doc: "Casts the factors of contractions to the precision asked for. No other pass narrows a value.",
        run: precision::run,
        after: &[
            ("legalize", "attention shows its contractions only then"),
            ("narrow-products", "what is narrow already is not rounded"),
        ],
    },
    Pass {
        name: "merge-products",
        doc: "Makes one product of several of one left factor with stored right factors, as of queries, keys and values.",
        run: merge_products::run,
        after: &[
            ("precision", "the casts of factors must lie before what is joined"),
            ("cse", "the left factor must be one value to be seen as the same"),
        ],
    },
    Pass {
        name: "store-narrow",
        doc: "Stores narrow weights as kernels read them: k innermost, elements of four bits two to a byte.",
        run: store_narrow::run,
        after: &[
            ("fold", "what is moved here would be moved back"),
            ("merge-products", "products are joined by the weights that they have"),
        ],
    },
    Pass {
        name: "fusion",
        doc: "Puts every value into one region: what one kernel computes together.",
        run: fusion::run,
        after: &[
            ("legalize", "every op must have a region kind"),
            ("dce", "a dead user would keep a value in memory"),
            ("precision", "a cast belongs to the region of its operand, so that 16 bits are stored"),
            ("simplify", "a movement that moves nothing would part a region"),
        ],
    },
];

/// The order in which a model is optimised. A pass may stand in it more than once.
pub const PIPELINE: &[&str] = &[
    "bind-dims",
    // Down to what the model means.
    "fold",
    "simplify",
    "fold",
    "cse",
    "dce",
    "recognize",
    "fold-scale",
    "layout",
    // Down to what kernels can do.
    "legalize",
    "narrow-products",
    "precision",
    "fold",
    "simplify",
    "cse",
    "merge-products",
    // Computes the joined weights.
    "fold",
    "store-narrow",
    "dce",
    "fusion",
];

/// The pass of that name.
pub fn find(name: &str) -> Option<&'static Pass> {
    PASSES.iter().find(|pass| pass.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pipeline_keeps_every_stated_order() {
        for (position, name) in PIPELINE.iter().enumerate() {
            let pass = find(name).unwrap_or_else(|| panic!("the pipeline names `{name}`, which is not in the table"));
            for (before, why) in pass.after {
                assert!(find(before).is_some(), "`{name}` comes after `{before}`, which is not in the table");
                assert!(PIPELINE[..position].contains(before), "`{name}` must come after `{before}`: {why}");
            }
        }
    }

    #[test]
    fn every_pass_has_one_row_and_runs() {
        for (position, pass) in PASSES.iter().enumerate() {
            assert!(PASSES[..position].iter().all(|other| other.name != pass.name), "`{}` is there twice", pass.name);
            assert!(PIPELINE.contains(&pass.name), "`{}` is not in the pipeline", pass.name);
        }
    }
}
