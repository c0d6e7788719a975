//! Matrix products by cuBLASLt, to measure against. The library is looked for when somebody asks, and not needed to run.
//!
//! Matrices here are row-major and the library's column-major, so it is given the transposed problem: its first factor is
//! our second one, its rows are our columns.

#![expect(unsafe_code, reason = "calls cuBLASLt")]

use super::context::Context;
use super::memory::DeviceBuffer;
use super::plan::LoadedPlan;
use super::stream::Stream;
use crate::error::RuntimeError;
use cudarc::cublaslt::sys::{
    self, cublasComputeType_t as Compute, cublasLtEpilogue_t as LtEpilogue, cublasLtHandle_t,
    cublasLtMatmulAlgo_t as Algorithm, cublasLtMatmulDesc_t, cublasLtMatmulDescAttributes_t as Attribute,
    cublasLtMatmulHeuristicResult_t as Heuristic, cublasLtMatmulMatrixScale_t as ScaleMode,
    cublasLtMatmulPreferenceAttributes_t as PreferenceAttribute, cublasLtMatrixLayout_t,
    cublasLtMatrixLayoutAttribute_t as LayoutAttribute, cublasStatus_t as Status, cudaDataType_t as CudaType,
};
use gable_tensor::DType;
use std::ffi::{CStr, c_void};
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

/// What the library may use beside the matrices: twice what its documentation advises for this generation.
const WORKSPACE_BYTES: usize = 64 << 20;
/// How many of the library's proposals are tried.
const PROPOSALS: usize = 10;

// Values of `cublasOperation_t`, which the bindings leave out.
const AS_IT_IS: i32 = 0;
const TRANSPOSED: i32 = 1;

/// A product `first [batch, m, k] x second -> [batch, m, n]`, by positions of its operands among a plan's inputs.
#[derive(Clone, Debug, PartialEq)]
pub struct Product {
    /// Rows, columns, terms of each sum.
    pub sizes: [u64; 3],
    /// Products side by side.
    pub batch: u64,
    /// Element type of both factors.
    pub factors: DType,
    /// Element type of the result, of the bias and of the addend.
    pub result: DType,
    /// The first factor.
    pub first: usize,
    /// The second factor; where there are several, each has a product of its own.
    pub seconds: Vec<usize>,
    /// Where rows are in groups: how many rows each has, of the sum that `sizes` says; the second factor is a matrix for each.
    pub groups: Vec<u64>,
    /// Whether the second factor lies as `[k, n]` in memory, not as `[n, k]`.
    pub second_is_kn: bool,
    /// Scales of the factors in f32.
    pub scales: Option<Scales>,
    /// A bias for each column, followed by GELU by tanh.
    pub gelu_bias: Option<usize>,
    /// A matrix that is added.
    pub addend: Option<usize>,
}

/// Scales of both factors, by positions among a plan's inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scales {
    /// Of the first factor.
    pub rows: usize,
    /// Of the second.
    pub columns: usize,
    /// Whether a scale is that of 128 terms of a row, those of neighbouring rows next to each other, and of 128 columns by 128
    /// terms, row-major over blocks; else that of a row and of a column.
    pub by_blocks: bool,
}

/// Whether the library is there, with its version.
pub fn version() -> Option<usize> {
    static PRESENT: OnceLock<bool> = OnceLock::new();
    // SAFETY: Opens the library by its well-known names, whose initialisers are its own.
    if !*PRESENT.get_or_init(|| unsafe { sys::is_culib_present() }) {
        return None;
    }
    // SAFETY: The library is there; the function takes nothing and returns a number.
    Some(unsafe { sys::cublasLtGetVersion() })
}

fn check(call: &'static str, status: Status) -> Result<(), RuntimeError> {
    if status == Status::CUBLAS_STATUS_SUCCESS {
        return Ok(());
    }
    // SAFETY: Returns a static zero-terminated string for any code.
    let name = unsafe { CStr::from_ptr(sys::cublasLtGetStatusName(status)) };
    Err(RuntimeError::Library { library: "cuBLASLt", call, status: name.to_string_lossy().into_owned() })
}

/// The library, started on a device, with its workspace.
pub struct CublasLt {
    raw: cublasLtHandle_t,
    workspace: DeviceBuffer,
    context: Arc<Context>,
}

impl CublasLt {
    /// Starts the library; `None` where it is not installed.
    pub fn open(context: &Arc<Context>) -> Result<Option<Rc<CublasLt>>, RuntimeError> {
        if version().is_none() {
            return Ok(None);
        }
        context.bind()?;
        let workspace = DeviceBuffer::new(context, WORKSPACE_BYTES, || "the workspace of cuBLASLt".into())?;
        let mut raw = std::ptr::null_mut();
        // SAFETY: Writes one handle, destroyed in `drop`.
        check("cublasLtCreate", unsafe { sys::cublasLtCreate(&mut raw) })?;
        Ok(Some(Rc::new(CublasLt { raw, workspace, context: Arc::clone(context) })))
    }
}

impl Drop for CublasLt {
    fn drop(&mut self) {
        if self.context.bind().is_ok() {
            // SAFETY: The handle came from `cublasLtCreate` and is destroyed once.
            let _ = unsafe { sys::cublasLtDestroy(self.raw) };
        }
    }
}

/// A product as the library has it, with the memory of its results: one call, or one after the other.
pub struct LibraryProduct {
    library: Rc<CublasLt>,
    description: Description,
    calls: Vec<Call>,
    results: Vec<DeviceBuffer>,
    addend: Option<u64>,
    // Holds the operands.
    _plan: Rc<LoadedPlan>,
}

/// One call of the library, with the addresses of factors and result.
struct Call {
    layouts: [Layout; 3],
    first: u64,
    second: u64,
    result: u64,
}

impl LibraryProduct {
    /// Describes the product over a plan's inputs and allocates its results.
    pub fn new(
        library: &Rc<CublasLt>,
        product: &Product,
        plan: &Rc<LoadedPlan>,
    ) -> Result<LibraryProduct, RuntimeError> {
        library.context.bind()?;
        let [m, n, k] = product.sizes;
        let address = |input: usize| plan.input_address(input);
        let description = Description::new()?;
        let second_op = if product.second_is_kn { AS_IT_IS } else { TRANSPOSED };
        description.set(Attribute::CUBLASLT_MATMUL_DESC_TRANSA, &second_op)?;
        description.set(Attribute::CUBLASLT_MATMUL_DESC_TRANSB, &AS_IT_IS)?;
        if let Some(scales) = product.scales {
            let [of_columns, of_rows] = if scales.by_blocks {
                [
                    ScaleMode::CUBLASLT_MATMUL_MATRIX_SCALE_BLK128x128_32F,
                    ScaleMode::CUBLASLT_MATMUL_MATRIX_SCALE_VEC128_32F,
                ]
            } else {
                [ScaleMode::CUBLASLT_MATMUL_MATRIX_SCALE_OUTER_VEC_32F; 2]
            };
            description.set(Attribute::CUBLASLT_MATMUL_DESC_A_SCALE_MODE, &(of_columns as i32))?;
            description.set(Attribute::CUBLASLT_MATMUL_DESC_B_SCALE_MODE, &(of_rows as i32))?;
            description.set(Attribute::CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, &address(scales.columns))?;
            description.set(Attribute::CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, &address(scales.rows))?;
            // Full accumulation.
            description.set(Attribute::CUBLASLT_MATMUL_DESC_FAST_ACCUM, &0i8)?;
        }
        if let Some(bias) = product.gelu_bias {
            let epilogue = LtEpilogue::CUBLASLT_EPILOGUE_GELU_BIAS as u32;
            description.set(Attribute::CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue)?;
            description.set(Attribute::CUBLASLT_MATMUL_DESC_BIAS_POINTER, &address(bias))?;
        }
        let factors = cuda_type(product.factors)?;
        let second = if product.second_is_kn { [n, k] } else { [k, n] };
        let layouts = |rows: u64| -> Result<[Layout; 3], RuntimeError> {
            Ok([
                Layout::new(factors, second, product.batch)?,
                Layout::new(factors, [k, rows], product.batch)?,
                Layout::new(cuda_type(product.result)?, [n, rows], product.batch)?,
            ])
        };
        let (factor_bytes, result_bytes) = (product.factors.bytes() as u64, product.result.bytes() as u64);
        let bytes = (result_bytes * product.batch * m * n) as usize;
        let (mut calls, mut results) = (Vec::new(), Vec::new());
        for &second in &product.seconds {
            let buffer = DeviceBuffer::new(&library.context, bytes, || "the result of cuBLASLt".into())?;
            let (mut first, mut second, mut result) = (address(product.first), address(second), buffer.address());
            if product.groups.is_empty() {
                calls.push(Call { layouts: layouts(m)?, first, second, result });
            }
            for &rows in &product.groups {
                if rows > 0 {
                    calls.push(Call { layouts: layouts(rows)?, first, second, result });
                }
                first += rows * k * factor_bytes;
                second += n * k * factor_bytes;
                result += rows * n * result_bytes;
            }
            results.push(buffer);
        }
        Ok(LibraryProduct {
            library: Rc::clone(library),
            description,
            calls,
            results,
            addend: product.addend.map(address),
            _plan: Rc::clone(plan),
        })
    }

    /// The library's proposals, best first by its own reckoning, each with an algorithm for every call; none where it has no
    /// such product.
    pub fn algorithms(&self) -> Result<Vec<Vec<Algorithm>>, RuntimeError> {
        let of_calls: Vec<Vec<Algorithm>> =
            self.calls.iter().map(|call| self.algorithms_of(call)).collect::<Result<_, _>>()?;
        if of_calls.iter().any(Vec::is_empty) {
            return Ok(Vec::new());
        }
        let count = of_calls.iter().map(Vec::len).max().unwrap_or(0);
        let proposal = |position: usize| of_calls.iter().map(|own| own[position.min(own.len() - 1)]).collect();
        Ok((0..count).map(proposal).collect())
    }

    fn algorithms_of(&self, call: &Call) -> Result<Vec<Algorithm>, RuntimeError> {
        let preference = Preference::new()?;
        preference.set(PreferenceAttribute::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &WORKSPACE_BYTES)?;
        // SAFETY: All fields are numbers, for which zeros are values; the status is an enum with a variant of value 0.
        let mut found: [Heuristic; PROPOSALS] = unsafe { std::mem::zeroed() };
        let mut count = 0;
        let [second, first, result] = &call.layouts;
        // SAFETY: All handles are live; at most `PROPOSALS` results are written, and one number.
        let status = unsafe {
            sys::cublasLtMatmulAlgoGetHeuristic(
                self.library.raw,
                self.description.0,
                second.0,
                first.0,
                result.0,
                result.0,
                preference.0,
                PROPOSALS as i32,
                found.as_mut_ptr(),
                &mut count,
            )
        };
        if matches!(status, Status::CUBLAS_STATUS_NOT_SUPPORTED | Status::CUBLAS_STATUS_INVALID_VALUE) {
            return Ok(Vec::new());
        }
        check("cublasLtMatmulAlgoGetHeuristic", status)?;
        let valid =
            found[..count.max(0) as usize].iter().filter(|proposal| proposal.state == Status::CUBLAS_STATUS_SUCCESS);
        Ok(valid.map(|proposal| proposal.algo).collect())
    }

    /// Submits every call, each with its algorithm.
    pub fn submit(&self, stream: &Stream, algorithms: &[Algorithm]) -> Result<(), RuntimeError> {
        self.library.context.bind()?;
        let (alpha, beta) = (1f32, if self.addend.is_some() { 1f32 } else { 0f32 });
        let pointer = |address: u64| std::ptr::without_provenance_mut::<c_void>(address as usize);
        for (call, algorithm) in self.calls.iter().zip(algorithms) {
            let [second_layout, first_layout, result_layout] = &call.layouts;
            // SAFETY: All handles are live, scalars are on the host as the description says by default, and addresses are
            // inside device buffers that `self` keeps, with room for the sizes in the layouts. The stream is of the same
            // context.
            let status = unsafe {
                sys::cublasLtMatmul(
                    self.library.raw,
                    self.description.0,
                    (&raw const alpha).cast(),
                    pointer(call.second),
                    second_layout.0,
                    pointer(call.first),
                    first_layout.0,
                    (&raw const beta).cast(),
                    pointer(self.addend.unwrap_or(call.result)),
                    result_layout.0,
                    pointer(call.result),
                    result_layout.0,
                    algorithm,
                    pointer(self.library.workspace.address()),
                    WORKSPACE_BYTES,
                    stream.raw().cast(),
                )
            };
            check("cublasLtMatmul", status)?;
        }
        Ok(())
    }

    /// The result of each second factor.
    pub fn result(&self, position: usize) -> &DeviceBuffer {
        &self.results[position]
    }
}

fn cuda_type(dtype: DType) -> Result<CudaType, RuntimeError> {
    Ok(match dtype {
        DType::F32 => CudaType::CUDA_R_32F,
        DType::F16 => CudaType::CUDA_R_16F,
        DType::BF16 => CudaType::CUDA_R_16BF,
        DType::E4M3 => CudaType::CUDA_R_8F_E4M3,
        DType::E5M2 => CudaType::CUDA_R_8F_E5M2,
        _ => {
            return Err(RuntimeError::Unsupported { device: "cuBLASLt".into(), what: "has no such element type here" });
        }
    })
}

/// A description of a product, in f32 arithmetic with f32 scalars.
struct Description(cublasLtMatmulDesc_t);

impl Description {
    fn new() -> Result<Description, RuntimeError> {
        let mut raw = std::ptr::null_mut();
        // SAFETY: Writes one handle, destroyed in `drop`.
        let status =
            unsafe { sys::cublasLtMatmulDescCreate(&mut raw, Compute::CUBLAS_COMPUTE_32F, CudaType::CUDA_R_32F) };
        check("cublasLtMatmulDescCreate", status).map(|()| Description(raw))
    }

    /// `value` is of the type that the attribute's documentation says.
    fn set<T>(&self, attribute: Attribute, value: &T) -> Result<(), RuntimeError> {
        // SAFETY: Reads `size_of::<T>()` bytes, and refuses another size than the attribute's.
        let status = unsafe {
            sys::cublasLtMatmulDescSetAttribute(self.0, attribute, (value as *const T).cast(), size_of::<T>())
        };
        check("cublasLtMatmulDescSetAttribute", status)
    }
}

impl Drop for Description {
    fn drop(&mut self) {
        // SAFETY: The handle was created once and is destroyed once.
        let _ = unsafe { sys::cublasLtMatmulDescDestroy(self.0) };
    }
}

/// A dense column-major matrix, or several behind one another.
struct Layout(cublasLtMatrixLayout_t);

impl Layout {
    fn new(element: CudaType, [rows, columns]: [u64; 2], batch: u64) -> Result<Layout, RuntimeError> {
        let mut raw = std::ptr::null_mut();
        // SAFETY: Writes one handle, destroyed in `drop`.
        let status = unsafe { sys::cublasLtMatrixLayoutCreate(&mut raw, element, rows, columns, rows as i64) };
        check("cublasLtMatrixLayoutCreate", status)?;
        let layout = Layout(raw);
        if batch > 1 {
            layout.set(LayoutAttribute::CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, &(batch as i32))?;
            let stride = (rows * columns) as i64;
            layout.set(LayoutAttribute::CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, &stride)?;
        }
        Ok(layout)
    }

    fn set<T>(&self, attribute: LayoutAttribute, value: &T) -> Result<(), RuntimeError> {
        // SAFETY: As for descriptions.
        let status = unsafe {
            sys::cublasLtMatrixLayoutSetAttribute(self.0, attribute, (value as *const T).cast(), size_of::<T>())
        };
        check("cublasLtMatrixLayoutSetAttribute", status)
    }
}

impl Drop for Layout {
    fn drop(&mut self) {
        // SAFETY: The handle was created once and is destroyed once.
        let _ = unsafe { sys::cublasLtMatrixLayoutDestroy(self.0) };
    }
}

/// What proposals must keep to.
struct Preference(sys::cublasLtMatmulPreference_t);

impl Preference {
    fn new() -> Result<Preference, RuntimeError> {
        let mut raw = std::ptr::null_mut();
        // SAFETY: Writes one handle, destroyed in `drop`.
        let status = unsafe { sys::cublasLtMatmulPreferenceCreate(&mut raw) };
        check("cublasLtMatmulPreferenceCreate", status).map(|()| Preference(raw))
    }

    fn set<T>(&self, attribute: PreferenceAttribute, value: &T) -> Result<(), RuntimeError> {
        // SAFETY: As for descriptions.
        let status = unsafe {
            sys::cublasLtMatmulPreferenceSetAttribute(self.0, attribute, (value as *const T).cast(), size_of::<T>())
        };
        check("cublasLtMatmulPreferenceSetAttribute", status)
    }
}

impl Drop for Preference {
    fn drop(&mut self) {
        // SAFETY: The handle was created once and is destroyed once.
        let _ = unsafe { sys::cublasLtMatmulPreferenceDestroy(self.0) };
    }
}
