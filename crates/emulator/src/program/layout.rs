//! Where variables of a module and of its functions live.

use std::sync::Arc;

use gable_ptx::syntax::{Initializer, Parameter, StorageType, Variable};

use super::LoadError;

/// A parameter of a kernel in the block that a launch passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterLayout {
    /// Its name.
    pub name: Arc<str>,
    /// Offset in the block.
    pub offset: u32,
    /// Its size.
    pub bytes: u32,
    /// Its alignment.
    pub align: u32,
    /// Whether it is one scalar, not an array of bytes.
    pub is_scalar: bool,
}

/// A variable of the module in global or constant memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GlobalVariable {
    /// Its name.
    pub name: Arc<str>,
    /// Its bytes; those that the text does not give are zero.
    pub data: Vec<u8>,
    /// Its address.
    pub address: u64,
    /// `.const`.
    pub read_only: bool,
}

/// Variables of modules start here; launches allocate elsewhere.
pub(super) const MODULE_VARIABLES: u64 = 0x7e00_0000_0000;

/// The most bytes that one variable may have: more is a mistake, and would exhaust the host.
pub(super) const MAX_BYTES: u64 = 1 << 30;

/// Local memory that a thread can have on every target (CUDA C++ Programming Guide, technical specifications).
pub(super) const MAX_LOCAL: u32 = 512 << 10;

/// The size of a variable.
pub(super) fn size(variable: &Variable) -> Result<u32, LoadError> {
    let error = |message: String| LoadError { line: variable.line, message };
    let bytes = variable.bytes().filter(|bytes| *bytes <= MAX_BYTES);
    let bytes = bytes.ok_or_else(|| error(format!("`{}` has more than {MAX_BYTES} bytes", variable.name)))?;
    if !variable.align.is_power_of_two() || variable.align > 1 << 20 {
        return Err(error(format!(
            "alignment {} of `{}` is no power of two up to 2^20",
            variable.align, variable.name
        )));
    }
    Ok(bytes as u32)
}

/// The next free place of `bytes` bytes, aligned; `end` moves past it.
pub(super) fn place(end: &mut u32, variable: &Variable) -> Result<u32, LoadError> {
    let bytes = size(variable)?;
    let start = end.checked_next_multiple_of(variable.align as u32);
    let after = start.and_then(|start| start.checked_add(bytes));
    let (Some(start), Some(after)) = (start, after) else {
        return Err(LoadError { line: variable.line, message: format!("no room for `{}`", variable.name) });
    };
    *end = after;
    Ok(start)
}

/// The parameters of a kernel in their block, and its size.
pub(super) fn parameters(params: &[Parameter]) -> Result<(Vec<ParameterLayout>, u32), LoadError> {
    let mut end = 0;
    let mut layouts = Vec::new();
    for Parameter { variable, .. } in params {
        let offset = place(&mut end, variable)?;
        layouts.push(ParameterLayout {
            name: variable.name.clone(),
            offset,
            bytes: end - offset,
            align: variable.align as u32,
            is_scalar: variable.dimensions.is_empty() && variable.vector == 1,
        });
    }
    Ok((layouts, end))
}

/// The bytes that an initialiser gives; `address` finds variables and functions.
pub(super) fn initial(variable: &Variable, address: &dyn Fn(&str, bool) -> Option<u64>) -> Result<Vec<u8>, LoadError> {
    let mut data = vec![0; size(variable)? as usize];
    let error = |message: String| LoadError { line: variable.line, message };
    if let Some(init) = &variable.init {
        let width = variable.ty.bytes() as usize;
        fill(init, &mut data, width, &variable.dimensions, variable.ty, address)
            .map_err(|what| error(format!("initialiser of `{}`: {what}", variable.name)))?;
    }
    Ok(data)
}

fn fill(
    init: &Initializer,
    data: &mut [u8],
    width: usize,
    dimensions: &[u64],
    ty: StorageType,
    address: &dyn Fn(&str, bool) -> Option<u64>,
) -> Result<(), String> {
    let scalar = match init {
        Initializer::List(values) => {
            let inner = dimensions.get(1..).unwrap_or(&[]);
            let step = match inner.is_empty() {
                true => width,
                false => inner.iter().product::<u64>() as usize * width,
            };
            if values.len().saturating_mul(step.max(1)) > data.len() {
                return Err(format!("{} values are more than fit {} bytes", values.len(), data.len()));
            }
            for (value, part) in values.iter().zip(data.chunks_mut(step.max(1))) {
                fill(value, part, width, inner, ty, address)?;
            }
            return Ok(());
        }
        Initializer::Int(value) => *value,
        Initializer::F32(bits) => u64::from(*bits),
        Initializer::F64(bits) if ty == StorageType::B32 => u64::from((f64::from_bits(*bits) as f32).to_bits()),
        Initializer::F64(bits) => *bits,
        Initializer::Address { name, generic, offset } => {
            let base = address(name, *generic).ok_or_else(|| format!("there is no variable `{name}`"))?;
            base.wrapping_add_signed(*offset)
        }
    };
    let bytes = scalar.to_le_bytes();
    let count = width.min(bytes.len()).min(data.len());
    data[..count].copy_from_slice(&bytes[..count]);
    Ok(())
}
