//! Kernels' code on the device. Modules are kept for the life of the process, by content: a kernel that many plans or
//! sessions share is assembled once.

#![expect(unsafe_code, reason = "calls the CUDA driver")]

use super::context::Context;
use super::driver::check;
use crate::error::CudaError;
use crate::session::LoadedKernel;
use cudarc::driver::sys::{
    self, CUfunction, CUfunction_attribute as Attribute, CUjit_option as JitOption, CUmodule, CUresult,
};
use gable_artifact::Kernel;
use std::collections::BTreeMap;
use std::ffi::{CString, c_void};
use std::sync::{Arc, Mutex, PoisonError};

/// Dynamic shared memory that needs no permission.
const PLAIN_SHARED_BYTES: u32 = 48 << 10;
/// Room for what the driver's assembler has to say.
const LOG_BYTES: usize = 16 << 10;

/// A loaded module. Never unloaded: [`MODULES`] holds it to the end of the process.
struct Module {
    raw: CUmodule,
    from_cubin: bool,
    // Keeps the context that the module lives in.
    _context: Arc<Context>,
}

// SAFETY: Modules may be used from any thread in which their context is current.
unsafe impl Send for Module {}
// SAFETY: As above; nothing here changes a module once it is loaded.
unsafe impl Sync for Module {}

/// Modules by device and hash of the code that they were made from.
static MODULES: Mutex<BTreeMap<ModuleKey, Arc<Module>>> = Mutex::new(BTreeMap::new());
type ModuleKey = (usize, [u8; blake3::OUT_LEN]);

/// A kernel that can be launched.
pub struct Function {
    raw: CUfunction,
    module: Arc<Module>,
    context: Arc<Context>,
    /// Its name in the plan.
    pub name: String,
    /// Dynamic shared memory of each launch.
    pub dynamic_shared_bytes: u32,
    /// Size of each parameter that the code declares, in order.
    pub param_bytes: Vec<u32>,
}

// SAFETY: As for modules: a function is a part of one.
unsafe impl Send for Function {}

impl Function {
    /// Loads the kernel's assembled code, or else has the driver assemble its PTX. Makes sure that launching it will
    /// not load anything more: nothing may be loaded while a graph is captured.
    pub fn load(context: &Arc<Context>, kernel: &Kernel) -> Result<Function, CudaError> {
        context.bind()?;
        let module = module_of(context, kernel)?;
        let entry = CString::new(kernel.entry.as_str()).expect("the artifact's check refuses zero bytes");
        let mut raw = std::ptr::null_mut();
        // SAFETY: The module is loaded, the name is zero-terminated, and one handle is written.
        check("cuModuleGetFunction", unsafe { sys::cuModuleGetFunction(&mut raw, module.raw, entry.as_ptr()) })
            .map_err(|error| error.during(|| format!("looking for `{}` in kernel `{}`", kernel.entry, kernel.name)))?;
        let mut function = Function {
            raw,
            module,
            context: Arc::clone(context),
            name: kernel.name.clone(),
            dynamic_shared_bytes: kernel.dynamic_shared_bytes,
            param_bytes: Vec::new(),
        };
        // Asking for an attribute loads the code where the driver loads lazily.
        function.attribute(Attribute::CU_FUNC_ATTRIBUTE_NUM_REGS)?;
        function.param_bytes = function.declared_params();
        if kernel.dynamic_shared_bytes > PLAIN_SHARED_BYTES {
            let limit = context.cuda().shared_bytes_per_block;
            function.set_attribute(
                Attribute::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                kernel.dynamic_shared_bytes,
                || format!("asking for dynamic shared memory; the device has {limit} bytes for a block"),
            )?;
        }
        Ok(function)
    }

    /// Permits clusters of more than eight blocks, which not every device can run.
    pub fn permit_large_clusters(&self) -> Result<(), CudaError> {
        let attribute = Attribute::CU_FUNC_ATTRIBUTE_NON_PORTABLE_CLUSTER_SIZE_ALLOWED;
        self.set_attribute(attribute, 1, || "permitting more than 8 blocks in a cluster".to_string())
    }

    /// The driver's handle.
    pub fn raw(&self) -> CUfunction {
        self.raw
    }

    /// What the driver knows of the loaded code.
    pub fn describe(&self) -> Result<LoadedKernel, CudaError> {
        self.context.bind()?;
        Ok(LoadedKernel {
            name: self.name.clone(),
            from_cubin: self.module.from_cubin,
            registers: self.attribute(Attribute::CU_FUNC_ATTRIBUTE_NUM_REGS)?,
            local_bytes: self.attribute(Attribute::CU_FUNC_ATTRIBUTE_LOCAL_SIZE_BYTES)?,
            static_shared_bytes: self.attribute(Attribute::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES)?,
            binary_version: self.attribute(Attribute::CU_FUNC_ATTRIBUTE_BINARY_VERSION)?,
        })
    }

    fn declared_params(&self) -> Vec<u32> {
        let mut sizes = Vec::new();
        let (mut offset, mut bytes) = (0, 0);
        // SAFETY: Writes two sizes, or gives an error code for the first position past the last parameter.
        let get = |position, offset: &mut usize, bytes: &mut usize| unsafe {
            sys::cuFuncGetParamInfo(self.raw, position, offset, bytes)
        };
        while get(sizes.len(), &mut offset, &mut bytes) == CUresult::CUDA_SUCCESS {
            sizes.push(u32::try_from(bytes).unwrap_or(u32::MAX));
        }
        sizes
    }

    fn attribute(&self, attribute: Attribute) -> Result<u32, CudaError> {
        let mut value = 0;
        // SAFETY: Writes one integer about a function whose module `self` holds.
        check("cuFuncGetAttribute", unsafe { sys::cuFuncGetAttribute(&mut value, attribute, self.raw) })
            .map_err(|error| error.during(|| format!("asking kernel `{}` for {attribute:?}", self.name)))?;
        Ok(u32::try_from(value).unwrap_or(0))
    }

    fn set_attribute(&self, attribute: Attribute, value: u32, why: impl Fn() -> String) -> Result<(), CudaError> {
        let number = i32::try_from(value).unwrap_or(i32::MAX);
        // SAFETY: Takes a number and a function whose module `self` holds.
        check("cuFuncSetAttribute", unsafe { sys::cuFuncSetAttribute(self.raw, attribute, number) })
            .map_err(|error| error.during(|| format!("setting {value} on kernel `{}`, {}", self.name, why())))
    }
}

fn module_of(context: &Arc<Context>, kernel: &Kernel) -> Result<Arc<Module>, CudaError> {
    let mut hasher = blake3::Hasher::new();
    hasher.update(kernel.ptx.as_bytes());
    // The separator is no part of any text, so code cannot pass for other code with an assembled form.
    hasher.update(&[0]);
    hasher.update(kernel.cubin.as_deref().unwrap_or_default());
    let key = (context.cuda().ordinal, *hasher.finalize().as_bytes());
    // A module is only ever inserted whole, so the map is right even if a thread died holding the lock.
    let lock = || MODULES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(module) = lock().get(&key) {
        return Ok(Arc::clone(module));
    }
    // Assembled outside the lock, so that several threads can do it. Of two that did the same, the first stays.
    let module = Arc::new(load_module(context, kernel)?);
    Ok(Arc::clone(lock().entry(key).or_insert(module)))
}

fn load_module(context: &Arc<Context>, kernel: &Kernel) -> Result<Module, CudaError> {
    context.bind()?;
    let module = |raw, from_cubin| Module { raw, from_cubin, _context: Arc::clone(context) };
    let refused = match &kernel.cubin {
        None => None,
        Some(cubin) => match load_image(cubin) {
            Ok(raw) => return Ok(module(raw, true)),
            // The same code in its PTX form: assembled by a newer or an older assembler, never another algorithm.
            Err((error, _)) => {
                tracing::warn!("kernel `{}`: its assembled code was refused, loading its PTX: {error}", kernel.name);
                Some(error)
            }
        },
    };
    let text = CString::new(kernel.ptx.as_str()).expect("the artifact's check refuses zero bytes");
    load_image(text.as_bytes_with_nul()).map(|raw| module(raw, false)).map_err(|(error, log)| {
        error.during(|| {
            let log = if log.is_empty() { String::new() } else { format!("; the driver's assembler says:\n{log}") };
            let refused = refused.map_or(String::new(), |error| format!(" (its assembled code was refused: {error})"));
            format!("assembling kernel `{}` for {}{refused}{log}", kernel.name, context.info.name)
        })
    })
}

/// Loads assembled code, or zero-terminated PTX. An error comes with the assembler's log.
fn load_image(image: &[u8]) -> Result<CUmodule, (CudaError, String)> {
    let mut log = vec![0u8; LOG_BYTES];
    let mut options = [JitOption::CU_JIT_ERROR_LOG_BUFFER, JitOption::CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES];
    // The driver takes the size as the pointer's value, and writes the log's length into the same place.
    let mut values = [log.as_mut_ptr().cast::<c_void>(), std::ptr::without_provenance_mut(LOG_BYTES)];
    let mut raw = std::ptr::null_mut();
    // SAFETY: `image` is an ELF file, whose header gives its length, or zero-terminated text. Both arrays have two
    // entries, and the driver writes at most `LOG_BYTES` into `log`, which outlives the call.
    let result: CUresult = unsafe {
        sys::cuModuleLoadDataEx(
            &mut raw,
            image.as_ptr().cast(),
            options.len() as u32,
            options.as_mut_ptr(),
            values.as_mut_ptr(),
        )
    };
    check("cuModuleLoadDataEx", result).map(|()| raw).map_err(|error| {
        let length = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
        (error, String::from_utf8_lossy(&log[..length]).trim_end().to_string())
    })
}
