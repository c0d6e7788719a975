//! What an op is: the macro that turns table rows into types, and the functions that every op must have.
//!
//! Rows are in [`crate::ops`]. A row gives name, operands, attributes and groups; an `impl OpDef` beside it gives shape
//! rule, meaning and cost. None of the three has a default body: an op that lacks one does not compile.

use crate::cost::Cost;
use crate::types::{ConcreteType, Type};
use gable_tensor::Tensor;

/// Why an op cannot be applied to its operands.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{0}")]
pub struct OpError(pub String);

impl OpError {
    /// An error with this message.
    pub fn new(message: impl Into<String>) -> OpError {
        OpError(message.into())
    }
}

/// What every op says about itself. The number of operands has been checked against the row before a call.
pub trait OpDef {
    /// The type of the result, or why there is none. Shapes may be symbolic.
    fn infer(&self, args: &[&Type]) -> Result<Type, OpError>;

    /// The result, by plain loops: the oracle. `out` is what [`OpDef::infer`] gave.
    fn eval(&self, args: &[&Tensor], out: &ConcreteType) -> Result<Tensor, OpError>;

    /// Arithmetic by unit, and compulsory bytes: each operand's needed part read once, the result written once.
    fn cost(&self, args: &[&ConcreteType], out: &ConcreteType) -> Cost;
}

/// What passes ask of an op instead of listing names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Group {
    /// No operands: inputs, weights, constants, coordinates.
    Leaf,
    /// Each result element depends on the operands' elements at the same position.
    Map,
    /// A map whose first two operands may be swapped.
    Commutative,
    /// Moves elements without computing: every result element is one operand element or a constant.
    Movement,
    /// Takes the bits of elements for other elements: neighbours along the last axis become one, or one becomes several.
    Bits,
    /// Combines elements along axes.
    Reduction,
    /// A sum of products over an inner dimension: what tensor cores do.
    Contraction,
    /// Works on whole rows along one axis: softmax, norms.
    RowWise,
    /// Has a decomposition into simpler ops, which is its meaning (see [`crate::composite`]).
    Composite,
    /// Result elements depend on others in a data-dependent way: scatter, sort, scan.
    Ordered,
}

/// The static facts of a row, for docs, verifier, parser and fuzzer.
#[derive(Debug)]
pub struct OpInfo {
    /// Name in `.gir` text.
    pub name: &'static str,
    /// Required operands, in order.
    pub operands: &'static [&'static str],
    /// Operands that may follow the required ones.
    pub optional: &'static [&'static str],
    /// Name of the operand that may come any number of times, at least once.
    pub variadic: Option<&'static str>,
    /// Attribute names.
    pub attrs: &'static [&'static str],
    /// Groups.
    pub groups: &'static [Group],
    /// The documentation, line by line.
    pub doc: &'static [&'static str],
}

impl OpInfo {
    /// Whether `n` operands fit; the error says what was expected.
    pub fn check_arity(&self, n: usize) -> Result<(), OpError> {
        let (least, most) = match self.variadic {
            Some(_) => (1, usize::MAX),
            None => (self.operands.len(), self.operands.len() + self.optional.len()),
        };
        if (least..=most).contains(&n) {
            return Ok(());
        }
        let expected = match (least, most) {
            (least, usize::MAX) => format!("at least {least}"),
            (least, most) if least == most => least.to_string(),
            (least, most) => format!("{least} to {most}"),
        };
        Err(OpError(format!("`{}` has {n} operands, expected {expected}", self.name)))
    }
}

macro_rules! ops {
    ($( $(#[doc = $doc:literal])+ $Op:ident = $name:literal
        ( $(..$rest:ident)? $($arg:ident),* $(; $($opt:ident),+)? )
        $( { $($attr:ident : $aty:ty),+ } )? [ $($group:ident),* ] ; )+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Clone, Debug, PartialEq)]
            pub struct $Op { $( $(
                #[doc = concat!("Attribute `", stringify!($attr), "`; see the op.")]
                pub $attr: $aty
            ),+ )? }

            impl From<$Op> for Op { fn from(op: $Op) -> Op { Op::$Op(op) } }
        )+

        /// Any op.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Op { $( $(#[doc = $doc])+ $Op($Op) ),+ }

        impl Op {
            /// Every row, in table order.
            pub const TABLE: &'static [$crate::op::OpInfo] = &[ $( $crate::op::OpInfo {
                name: $name,
                operands: &[ $( stringify!($arg) ),* ],
                optional: &[ $( $( stringify!($opt) ),+ )? ],
                variadic: $crate::op::first(&[ $( stringify!($rest) )? ]),
                attrs: &[ $( $( stringify!($attr) ),+ )? ],
                groups: &[ $( $crate::op::Group::$group ),* ],
                doc: &[ $( $doc ),+ ],
            } ),+ ];

            /// The op's row.
            pub fn info(&self) -> &'static $crate::op::OpInfo {
                #[derive(Clone, Copy)]
                enum Row { $( $Op ),+ }
                let row = match self { $( Op::$Op(_) => Row::$Op ),+ };
                &Self::TABLE[row as usize]
            }

            /// The one dispatch point: it demands `OpDef` of every row.
            pub fn def(&self) -> &dyn $crate::op::OpDef {
                match self { $( Op::$Op(op) => op ),+ }
            }

            /// Attribute names with their values' text, in row order.
            pub fn attrs(&self) -> Vec<(&'static str, String)> {
                match self { $( Op::$Op(_op) => vec![
                    $( $( (stringify!($attr), $crate::attr::Attr::print(&_op.$attr)) ),+ )?
                ] ),+ }
            }

            /// The op called `name`; `attr` gives an attribute's text.
            pub fn parse(name: &str, attr: &dyn Fn(&str) -> Option<String>) -> Result<Op, $crate::op::OpError> {
                match name {
                    $( $name => Ok(Op::$Op($Op { $( $(
                        $attr: $crate::op::parse_attr($name, stringify!($attr), attr)?
                    ),+ )? })), )+
                    _ => Err($crate::op::OpError(format!("unknown op `{name}`"))),
                }
            }
        }
    };
}
pub(crate) use ops;

pub(crate) const fn first(names: &[&'static str]) -> Option<&'static str> {
    match names {
        [name, ..] => Some(name),
        [] => None,
    }
}

pub(crate) fn parse_attr<T: crate::attr::Attr>(
    op: &str,
    name: &str,
    attr: &dyn Fn(&str) -> Option<String>,
) -> Result<T, OpError> {
    let text = attr(name).ok_or_else(|| OpError(format!("`{op}` needs attribute `{name}`")))?;
    T::parse(text.trim()).map_err(|e| OpError(format!("`{op}`, attribute `{name}`: {e}")))
}

pub use crate::ops::Op;

impl Op {
    /// Whether the op is in `group`.
    pub fn is(&self, group: Group) -> bool {
        self.info().groups.contains(&group)
    }

    /// The name in `.gir` text.
    pub fn name(&self) -> &'static str {
        self.info().name
    }
}
