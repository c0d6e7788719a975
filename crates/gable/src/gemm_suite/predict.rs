//! What the rules expect of the suite's products on a machine that need not be there. Every figure here is a prediction.

use super::case;
use crate::Error;
use gable_codegen::Predicted;
use gable_ir::{Graph, text};
use gable_ptx::Target;
use gable_roofline::Machine;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// How both factors of a product are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Factors {
    Bf16,
    /// e4m3 with an f32 scale for each 128 terms, those of the right factor for 128 columns too.
    Fp8Blocks,
    /// e4m3 with a power of two for each 32 terms.
    Mxfp8,
    /// e2m1 in pairs with a scale of e4m3 for each 16 terms.
    Nvfp4,
}

impl Factors {
    fn name(self) -> &'static str {
        match self {
            Factors::Bf16 => "bf16",
            Factors::Fp8Blocks => "e4m3 in blocks",
            Factors::Mxfp8 => "mxfp8",
            Factors::Nvfp4 => "nvfp4",
        }
    }

    /// Terms that share a scale.
    fn block(self) -> Option<usize> {
        match self {
            Factors::Bf16 => None,
            Factors::Fp8Blocks => Some(case::BLOCK),
            Factors::Mxfp8 => Some(32),
            Factors::Nvfp4 => Some(16),
        }
    }

    /// Columns that share a scale.
    fn columns(self) -> usize {
        if self == Factors::Fp8Blocks { case::BLOCK } else { 1 }
    }

    /// Bytes of so many terms with their scales, which `together` rows or columns share.
    fn bytes(self, terms: f64, together: usize) -> f64 {
        match self {
            Factors::Bf16 => 2.0 * terms,
            Factors::Fp8Blocks => terms + terms * 4.0 / (case::BLOCK * together) as f64,
            Factors::Mxfp8 => terms + terms / 32.0,
            Factors::Nvfp4 => terms / 2.0 + terms / 16.0,
        }
    }

    /// Operations that a machine's tensor cores do of them in a second, by its documents.
    fn roof(self, machine: &Machine) -> f64 {
        let rate = match self {
            Factors::Bf16 => machine.rates.half_acc32,
            Factors::Fp8Blocks => machine.rates.fp8_acc32,
            // With block scales 8-bit factors run at the rate of sums in f16, even where others do not.
            Factors::Mxfp8 => 2.0 * machine.rates.half_acc16,
            Factors::Nvfp4 => machine.rates.fp4,
        };
        rate * f64::from(machine.multiprocessors) * machine.clock_ghz * 1e9
    }
}

/// One product, predicted.
#[derive(Clone, Debug, PartialEq)]
pub struct Prediction {
    /// Rows, columns, terms.
    pub sizes: [usize; 3],
    /// How the factors are stored.
    pub factors: &'static str,
    /// What is expected of the kernels, added up.
    pub predicted: Predicted,
    /// The least possible time by the machine's documents.
    pub bound_s: f64,
    /// A measured time of the same product on such a machine.
    pub measured_s: Option<f64>,
}

impl Prediction {
    /// The least possible time over the predicted one.
    pub fn share(&self) -> f64 {
        self.bound_s / self.predicted.seconds
    }

    /// Predicted operations per second.
    pub fn flops_per_s(&self) -> f64 {
        2.0 * self.sizes.iter().map(|&size| size as f64).product::<f64>() / self.predicted.seconds
    }
}

impl fmt::Display for Prediction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [m, n, k] = self.sizes;
        let (us, tera) = (self.predicted.seconds * 1e6, self.flops_per_s() / 1e12);
        write!(f, "| {m} x {n} x {k} | {} | {us:.1} | {tera:.0} | {:.0} % |", self.factors, 100.0 * self.share())?;
        if let Some(measured) = self.measured_s {
            write!(f, " {:.1} | {:.2} |", measured * 1e6, self.predicted.seconds / measured)?;
        }
        write!(f, " {} |", self.predicted.schedule)
    }
}

/// Predictions for every plain shape of the suite, and for scaled factors where the machine's tensor cores multiply with block scales.
/// `measured` has seconds by the suite's names, for those that were measured on such a machine.
pub fn predict(machine: &Machine, measured: &BTreeMap<String, f64>) -> Result<Vec<Prediction>, Error> {
    let target: Target = machine
        .target
        .parse()
        .map_err(|_| Error::Request(format!("the table of machines has an unknown target `{}`", machine.target)))?;
    let types: &[Factors] = match machine.rates.fp4 > 0.0 {
        true => &[Factors::Bf16, Factors::Fp8Blocks, Factors::Mxfp8, Factors::Nvfp4],
        false => &[Factors::Bf16],
    };
    let mut found = Vec::new();
    for &factors in types {
        for sizes in case::SHAPES {
            let [m, n, k] = sizes;
            if factors.block().is_some_and(|block| k % (2 * block) != 0) || n % factors.columns() != 0 {
                continue;
            }
            let name = format!("{}/plain/{m}x{n}x{k}", factors.name());
            let all = gable_codegen::predicted(&graph(factors, sizes)?, target, machine)?;
            let Some(predicted) = all.into_iter().reduce(|sum, one| sum.and(&one)) else { continue };
            let [rows, columns, terms] = sizes.map(|size| size as f64);
            let bytes = factors.bytes(rows * terms, 1)
                + factors.bytes(columns * terms, factors.columns())
                + 2.0 * rows * columns;
            let arithmetic = 2.0 * rows * columns * terms / factors.roof(machine);
            let bound_s = arithmetic.max(bytes / machine.memory_bytes_per_s());
            let measured_s = measured.get(&name).copied();
            found.push(Prediction { sizes, factors: factors.name(), predicted, bound_s, measured_s });
        }
    }
    Ok(found)
}

/// Median seconds by the suite's names, of records that `gable bench --suite gemm --json` wrote.
pub fn measured(path: &Path) -> Result<BTreeMap<String, f64>, Error> {
    let refuse = |what: String| Error::Request(format!("`{}`: {what}", path.display()));
    let records = std::fs::read_to_string(path).map_err(|error| refuse(error.to_string()))?;
    let mut found = BTreeMap::new();
    for (number, line) in records.lines().enumerate() {
        let record: serde_json::Value =
            serde_json::from_str(line).map_err(|error| refuse(format!("line {}: {error}", number + 1)))?;
        // The first line says where and when; a wrong result has no time.
        let median = record.pointer("/time/median_s").and_then(serde_json::Value::as_f64);
        if let (Some(case), Some(median)) = (record["case"].as_str(), median.filter(|median| *median > 0.0)) {
            found.insert(case.to_string(), median);
        }
    }
    Ok(found)
}

/// The graph of a product whose right factor is stored by columns, as one region: fusion does not take the unpacking of 4-bit
/// elements into factors yet.
fn graph(factors: Factors, [m, n, k]: [usize; 3]) -> Result<Graph, Error> {
    let (a_given, a) = factor("a", [m, k], 1, factors);
    let (b_given, b) = factor("b", [n, k], factors.columns(), factors);
    let ty = if factors == Factors::Bf16 { "bf16" } else { "f32" };
    let source = format!(
        "graph @product({a_given}, {b_given}) {{\n  region @product contraction {{\n{a}{b}    \
         %t = transpose %b {{perm=[1, 0]}} : {ty}[{k}, {n}]\n    \
         %y = matmul %a, %t {{acc=f32, out=bf16}} : bf16[{m}, {n}]\n  }}\n  return y = %y\n}}\n"
    );
    text::parse(&source).map_err(|error| Error::Request(format!("the graph of a predicted product: {error}")))
}

/// Parameters of a factor, `together` rows of which share their scales, and lines that give it as `%NAME`.
fn factor(name: &str, [rows, k]: [usize; 2], together: usize, factors: Factors) -> (String, String) {
    let flat = format!("[{rows}, {k}]");
    let Some(block) = factors.block() else { return (format!("%{name}: bf16{flat}"), String::new()) };
    let scale = match factors {
        Factors::Fp8Blocks => "f32",
        Factors::Mxfp8 => "ue8m0",
        _ => "e4m3",
    };
    let (outer, groups, half) = (rows / together, k / block, k / 2);
    let (single, wide) = (format!("[{outer}, 1, {groups}, 1]"), format!("[{outer}, {together}, {groups}, {block}]"));
    let (converted, scales) = match scale {
        "f32" => (String::new(), format!("%{name}s")),
        _ => (format!("    %{name}c = cast %{name}s {{to=f32}} : f32[{outer}, {groups}]\n"), format!("%{name}c")),
    };
    let scales = format!(
        "{converted}    %{name}1 = reshape {scales} {{shape={single}}} : f32{single}\n    \
         %{name}2 = broadcast %{name}1 {{shape={wide}}} : f32{wide}\n    \
         %{name}3 = reshape %{name}2 {{shape={flat}}} : f32{flat}\n    %{name} = mul %{name}v, %{name}3 : f32{flat}\n"
    );
    if factors != Factors::Nvfp4 {
        let given = format!("%{name}e: e4m3{flat}, %{name}s: {scale}[{outer}, {groups}]");
        return (given, format!("    %{name}v = cast %{name}e {{to=f32}} : f32{flat}\n{scales}"));
    }
    let pairs = format!("u8[{rows}, {half}]");
    let (single, both) = (format!("[{rows}, {half}, 1]"), format!("[{rows}, {half}, 2]"));
    let lines = format!(
        "    %{name}m = const {{value=u8[](15)}} : u8[]\n    %{name}m1 = broadcast %{name}m {{shape=[{rows}, {half}]}} : {pairs}\n    \
         %{name}l = and %{name}e, %{name}m1 : {pairs}\n    %{name}l1 = reshape %{name}l {{shape={single}}} : u8{single}\n    \
         %{name}f = const {{value=u8[](4)}} : u8[]\n    %{name}f1 = broadcast %{name}f {{shape=[{rows}, {half}]}} : {pairs}\n    \
         %{name}h = shr %{name}e, %{name}f1 : {pairs}\n    %{name}h1 = reshape %{name}h {{shape={single}}} : u8{single}\n    \
         %{name}p = concat %{name}l1, %{name}h1 {{axis=2}} : u8{both}\n    %{name}p1 = reshape %{name}p {{shape={flat}}} : u8{flat}\n    \
         %{name}i = cast %{name}p1 {{to=i32}} : i32{flat}\n    \
         %{name}t = const {{value=f32[16](0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0)}} : f32[16]\n    \
         %{name}v = gather %{name}t, %{name}i {{axis=0}} : f32{flat}\n"
    );
    (format!("%{name}e: {pairs}, %{name}s: {scale}[{rows}, {groups}]"), lines + &scales)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_scaled_factors_are_predicted_in_their_own_class() {
        for (name, classes) in [("b200", ["tcgen05", "tcgen05"]), ("rtx5090", ["mma.sync", "mma.sync block-scaled"])] {
            let machine = Machine::named(name).expect("the table has it");
            let found = predict(machine, &BTreeMap::new()).expect("every shape is predicted");
            for one in &found {
                assert!(one.share() > 0.0 && one.share() <= 1.0, "{name}: {one}");
                if one.factors != "bf16" {
                    let class = classes[usize::from(one.factors != Factors::Fp8Blocks.name())];
                    assert_eq!(one.predicted.class, class, "{name}: {one}");
                }
            }
            assert!(found.len() > 40, "{name}: {}", found.len());
        }
    }
}
