//! One launch of a kernel from PTX text on the emulator: `gable emulate`.
//!
//! In: the text of a module, a target, the shape of the launch, one [`Argument`] for each parameter. Out: hazards, counts, what the
//! kernel printed, and the arrays of its outputs; files are read here, and written by [`Emulated::write`], all or none.

pub mod argument;
pub mod tensor_map;

use crate::Error;
use argument::{Argument, Buffer};
use bytes::Bytes;
use gable_emulator::{GlobalMemory, Kernel, Launch, Module, Outcome};
use gable_ptx::Target;
use gable_tensor::{DType, Tensor, npy};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use tensor_map::Over;

/// Bytes of all buffers together: beyond is a mistake, and would exhaust the host.
const MAX_BUFFER_BYTES: u64 = 1 << 33;

/// What an element holds in an output that the kernel never wrote: ones in every bit, NaN for floating point.
const POISON: u8 = 0xff;

/// What to run and how.
#[derive(Clone, Debug)]
pub struct Emulation {
    /// The machine.
    pub target: Target,
    /// The kernel; the only one of the module where absent.
    pub entry: Option<String>,
    /// CTAs.
    pub grid: [u32; 3],
    /// Threads of a CTA.
    pub block: [u32; 3],
    /// CTAs of a cluster; where absent, what the kernel requires, else one.
    pub cluster: Option<[u32; 3]>,
    /// Bytes of dynamic shared memory.
    pub shared_bytes: u32,
    /// One for each parameter, in order.
    pub arguments: Vec<Argument>,
    /// Schedule, checks, limits.
    pub options: gable_emulator::Options,
}

/// What came of it.
#[derive(Debug)]
pub struct Emulated {
    /// The kernel.
    pub entry: String,
    /// Hazards, counts, what was printed.
    pub outcome: Outcome,
    /// The outputs, in the order of the arguments.
    pub outputs: Vec<Output>,
}

/// A buffer to be written to a file.
#[derive(Debug)]
pub struct Output {
    /// Position of its argument.
    pub argument: usize,
    /// The file.
    pub file: PathBuf,
    /// Its contents after the launch.
    pub tensor: Tensor,
    /// Bytes that nobody wrote; they hold ones in every bit.
    pub unwritten: u64,
}

/// A buffer in memory.
struct Placed {
    argument: usize,
    buffer: Buffer,
    address: u64,
    bytes: u64,
    /// Type and shape of what is written afterwards.
    form: Option<(DType, Vec<usize>)>,
}

/// Runs one launch of the module in `ptx`. Relative files are found in `folder`.
pub fn run(ptx: &str, emulation: &Emulation, folder: &Path) -> Result<Emulated, Error> {
    let module = Module::parse(ptx).map_err(|error| Error::Request(error.to_string()))?;
    let entry = choose_entry(&module, emulation.entry.as_deref())?;
    let kernel = module.kernel(&entry, emulation.target).map_err(|error| Error::Request(error.to_string()))?;
    check_count(&kernel, &emulation.arguments)?;
    let mut memory = GlobalMemory::new();
    let placed = place_all(&mut memory, &emulation.arguments, folder)?;
    let mut values = Vec::new();
    for (position, argument) in emulation.arguments.iter().enumerate() {
        values.push(pass(&kernel, position, argument, &emulation.arguments, &placed)?);
    }
    let launch = Launch {
        grid: emulation.grid,
        block: emulation.block,
        cluster: emulation.cluster.or(kernel.directives.required_cluster).unwrap_or([1; 3]),
        shared_bytes: emulation.shared_bytes,
        params: kernel.pack(&values).map_err(|error| Error::Request(error.to_string()))?,
    };
    let outcome = kernel
        .run(&mut memory, &launch, &emulation.options)
        .map_err(|error| Error::Request(format!("launch: {error}")))?;
    let outputs = placed.iter().filter_map(|placed| output(placed, &memory, folder)).collect::<Result<_, _>>()?;
    Ok(Emulated { entry, outcome, outputs })
}

impl Emulated {
    /// Writes all outputs, or none where one cannot be written.
    pub fn write(&self) -> Result<(), Error> {
        let mut prepared = Vec::new();
        for output in &self.outputs {
            let io = |source| Error::Io { action: "write", path: output.file.clone(), source };
            let parent = output.file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let mut file = tempfile::NamedTempFile::new_in(parent).map_err(io)?;
            file.write_all(&npy::write(&output.tensor)).map_err(io)?;
            prepared.push((file, &output.file));
        }
        for (file, path) in prepared {
            file.persist(path).map_err(|error| Error::Io {
                action: "write",
                path: path.clone(),
                source: error.error,
            })?;
        }
        Ok(())
    }
}

fn choose_entry(module: &Module, wanted: Option<&str>) -> Result<String, Error> {
    let entries: Vec<&str> = module.entries().collect();
    match (wanted, entries.as_slice()) {
        (_, []) => Err(Error::Request("the module has no entry to run".into())),
        (Some(wanted), _) if entries.contains(&wanted) => Ok(wanted.to_owned()),
        (Some(wanted), _) => {
            Err(Error::Request(format!("no entry is called `{wanted}`; entries are {}", entries.join(", "))))
        }
        (None, [only]) => Ok((*only).to_owned()),
        (None, _) => {
            Err(Error::Request(format!("the module has {} entries, choose one: {}", entries.len(), entries.join(", "))))
        }
    }
}

fn check_count(kernel: &Kernel, arguments: &[Argument]) -> Result<(), Error> {
    if arguments.len() == kernel.params.len() {
        return Ok(());
    }
    let params: Vec<String> =
        kernel.params.iter().map(|param| format!("{} ({} bytes)", param.name, param.bytes)).collect();
    Err(Error::Request(format!(
        "{} arguments for the {} parameters of `{}`: {}",
        arguments.len(),
        kernel.params.len(),
        kernel.name,
        params.join(", ")
    )))
}

/// Buffers of all arguments, those of tensor maps included.
fn place_all(memory: &mut GlobalMemory, arguments: &[Argument], folder: &Path) -> Result<Vec<Placed>, Error> {
    let mut placed: Vec<Placed> = Vec::new();
    let mut total = 0u64;
    for (argument, given) in arguments.iter().enumerate() {
        let buffer = match given {
            Argument::Buffer(buffer) => buffer,
            Argument::TensorMap(request) => match &request.buffer {
                Over::Own(buffer) => buffer,
                _ => continue,
            },
            Argument::Value(_) => continue,
        };
        // An array must be read before its size is known; its file is bounded by the disk, the rest by this check.
        let (data, form, bytes) = match buffer {
            Buffer::In(file) => {
                let tensor = read(&folder.join(file))?;
                (Some(tensor.bytes().clone()), None, tensor.bytes().len() as u64)
            }
            Buffer::InOut { from, .. } => {
                let tensor = read(&folder.join(from))?;
                let form = (tensor.dtype(), tensor.shape().to_vec());
                (Some(tensor.bytes().clone()), Some(form), tensor.bytes().len() as u64)
            }
            Buffer::Out { dtype, shape, file } => {
                let bytes = gable_tensor::tensor::byte_count(*dtype, shape)
                    .map_err(|error| Error::Request(format!("output `{}`: {error}", file.display())))?;
                (None, Some((*dtype, shape.clone())), bytes as u64)
            }
            Buffer::Scratch(bytes) => (None, None, *bytes),
        };
        total = total.saturating_add(bytes);
        if total > MAX_BUFFER_BYTES {
            return Err(Error::Request(format!(
                "buffers of {total} bytes up to argument {argument}; at most {MAX_BUFFER_BYTES}"
            )));
        }
        let name = format!("argument {argument} ({})", describe(buffer));
        let address = match data {
            Some(data) => memory.allocate_with(name, &data),
            None => memory.allocate(name, bytes),
        };
        placed.push(Placed { argument, buffer: buffer.clone(), address, bytes, form });
    }
    Ok(placed)
}

fn describe(buffer: &Buffer) -> String {
    match buffer {
        Buffer::In(file) | Buffer::Out { file, .. } | Buffer::InOut { from: file, .. } => file.display().to_string(),
        Buffer::Scratch(_) => "scratch".into(),
    }
}

fn read(path: &Path) -> Result<Tensor, Error> {
    let io = |source| Error::Io { action: "read", path: path.to_path_buf(), source };
    let bytes: Bytes = std::fs::read(path).map_err(io)?.into();
    npy::read(&bytes).map_err(|source| Error::Npy { path: path.to_path_buf(), source })
}

/// The bytes that an argument passes for its parameter.
fn pass(
    kernel: &Kernel,
    position: usize,
    argument: &Argument,
    arguments: &[Argument],
    placed: &[Placed],
) -> Result<Vec<u8>, Error> {
    let param = &kernel.params[position];
    let (kind, value) = match argument {
        Argument::Value(value) => (value.kind, value.bytes.clone()),
        Argument::Buffer(_) => {
            let buffer = placed.iter().find(|placed| placed.argument == position).expect("every buffer was placed");
            ("a pointer", buffer.address.to_le_bytes().to_vec())
        }
        Argument::TensorMap(request) => {
            let buffer = covered(position, &request.buffer, arguments, placed)?;
            let map = request.encode(buffer.address, buffer.bytes);
            ("a tensor map", map.map_err(|error| Error::Request(format!("argument {position}: {error}")))?)
        }
    };
    if value.len() == param.bytes as usize {
        return Ok(value);
    }
    // A parameter narrower than 32 bits takes any integer that fits it.
    if param.is_scalar && param.bytes < 4 && matches!(kind, "i32" | "u32" | "i64" | "u64") {
        let (low, high) = value.split_at(param.bytes as usize);
        let negative = low.last().is_some_and(|byte| byte & 0x80 != 0) && kind.starts_with('i');
        if high.iter().all(|byte| *byte == 0) || (negative && high.iter().all(|byte| *byte == 0xff)) {
            return Ok(low.to_vec());
        }
    }
    Err(Error::Request(format!(
        "argument {position} is {kind} of {} bytes; parameter `{}` of `{}` has {}",
        value.len(),
        param.name,
        kernel.name,
        param.bytes
    )))
}

/// The buffer that a tensor map covers.
fn covered<'p>(
    position: usize,
    over: &Over,
    arguments: &[Argument],
    placed: &'p [Placed],
) -> Result<&'p Placed, Error> {
    let of = |argument: usize| placed.iter().find(|placed| placed.argument == argument);
    match over {
        Over::Own(_) => Ok(of(position).expect("every buffer was placed")),
        Over::Argument(index) => of(*index).ok_or_else(|| {
            let count = arguments.len();
            Error::Request(format!(
                "argument {position}: tensormap over argument {index}, which is no buffer among {count}"
            ))
        }),
        Over::Named(name) => {
            let matching: Vec<&Placed> = placed.iter().filter(|placed| is_called(&placed.buffer, name)).collect();
            match matching.as_slice() {
                [only] => Ok(only),
                [] => Err(Error::Request(format!(
                    "argument {position}: tensormap over `{name}`, and no argument has a file of this name"
                ))),
                _ => Err(Error::Request(format!(
                    "argument {position}: tensormap over `{name}`, and {} arguments have a file of this name; give a position",
                    matching.len()
                ))),
            }
        }
    }
}

fn is_called(buffer: &Buffer, name: &str) -> bool {
    let called = |file: &PathBuf| {
        let wanted = std::ffi::OsStr::new(name);
        file.as_os_str() == wanted || file.file_name() == Some(wanted) || file.file_stem() == Some(wanted)
    };
    match buffer {
        Buffer::In(file) | Buffer::Out { file, .. } => called(file),
        Buffer::InOut { from, to } => called(from) || called(to),
        Buffer::Scratch(_) => false,
    }
}

fn output(placed: &Placed, memory: &GlobalMemory, folder: &Path) -> Option<Result<Output, Error>> {
    let (dtype, shape) = placed.form.clone()?;
    let (Buffer::Out { file, .. } | Buffer::InOut { to: file, .. }) = &placed.buffer else { return None };
    let mut data = vec![0; placed.bytes as usize];
    let mut written = vec![false; data.len()];
    memory.copy_out(placed.address, &mut data, &mut written).expect("the buffer was allocated with this size");
    let mut unwritten = 0;
    for (byte, _) in data.iter_mut().zip(&written).filter(|(_, written)| !**written) {
        *byte = POISON;
        unwritten += 1;
    }
    let tensor = Tensor::new(dtype, shape, data);
    Some(
        tensor
            .map(|tensor| Output { argument: placed.argument, file: folder.join(file), tensor, unwritten })
            .map_err(|error| Error::Request(format!("output `{}`: {error}", file.display()))),
    )
}
