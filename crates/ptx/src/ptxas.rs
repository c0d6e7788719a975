//! NVIDIA's assembler as a child process: PTX text in, machine code and resource figures out.
//!
//! `ptxas` is looked for in `GABLE_PTXAS` and where [`crate::toolkit`] says.
//! Only compilers call it: a driver can assemble PTX itself when it loads it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::{env, fs, io};

use crate::target::Target;
use crate::toolkit::{self, WorkFolder};

/// An assembler that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ptxas {
    path: PathBuf,
}

/// What came out of an assembly.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assembled {
    /// The machine code, an ELF file that the driver loads.
    pub cubin: Vec<u8>,
    /// Resources per kernel, in the order of `ptxas`.
    pub kernels: Vec<KernelResources>,
    /// Warnings, one per line; empty where there are none.
    pub warnings: String,
}

/// What one kernel takes of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KernelResources {
    /// The name of the entry.
    pub name: String,
    /// 32-bit registers per thread.
    pub registers: u32,
    /// Bytes per thread written because registers did not suffice.
    pub spill_store_bytes: u32,
    /// Bytes per thread read back for the same reason.
    pub spill_load_bytes: u32,
    /// Bytes per thread of stack, spills and local arrays included.
    pub stack_bytes: u32,
    /// Bytes per CTA of static shared memory.
    pub static_shared_bytes: u32,
    /// Barriers of the CTA.
    pub barriers: u32,
}

/// Why there is no machine code.
#[derive(Debug, thiserror::Error)]
pub enum PtxasError {
    /// There is no assembler on this machine.
    #[error("`ptxas` was not found in {}: install a CUDA toolkit, set GABLE_PTXAS, or run `cargo xtask tools`", tried.join(", "))]
    NotFound {
        /// Where it was looked for.
        tried: Vec<String>,
    },
    /// The assembler could not be run, or its files not be read or written.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The assembler refused the text.
    #[error("`ptxas` for {target} failed:\n{message}")]
    Refused {
        /// The target assembled for.
        target: String,
        /// What it said, with line numbers of the text.
        message: String,
    },
}

impl Ptxas {
    /// The assembler of this machine.
    pub fn find() -> Result<Ptxas, PtxasError> {
        Self::find_in(|name| env::var_os(name))
    }

    fn find_in(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Result<Ptxas, PtxasError> {
        let path = toolkit::find("ptxas", "GABLE_PTXAS", variable).map_err(|tried| PtxasError::NotFound { tried })?;
        Ok(Ptxas { path })
    }

    /// The assembler at `path`.
    pub fn at(path: impl Into<PathBuf>) -> Ptxas {
        Ptxas { path: path.into() }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its release as it names itself, `13.0, V13.0.88`; part of a build's provenance.
    pub fn version(&self) -> Result<String, PtxasError> {
        let text = String::from_utf8_lossy(&self.run(["--version"])?.stdout).into_owned();
        let release = text.lines().find_map(|line| line.split_once("release ")).map(|(_, release)| release);
        Ok(release.unwrap_or(text.trim()).to_owned())
    }

    /// Machine code for `target`; the text must say the same target.
    pub fn assemble(&self, text: &str, target: Target) -> Result<Assembled, PtxasError> {
        self.assemble_for(text, target.name())
    }

    /// `assemble` for a target by name, which need not be one of ours.
    pub fn assemble_for(&self, text: &str, target: &str) -> Result<Assembled, PtxasError> {
        let folder = WorkFolder::new().map_err(|(path, e)| failed("create", &path, e))?;
        let (source, cubin) = (folder.path.join("module.ptx"), folder.path.join("module.cubin"));
        fs::write(&source, text).map_err(|e| failed("write", &source, e))?;
        let output = self.run([
            OsStr::new("--verbose"),
            OsStr::new("--gpu-name"),
            OsStr::new(target),
            OsStr::new("--output-file"),
            cubin.as_os_str(),
            source.as_os_str(),
        ])?;
        // The folder's name is chance; messages must not differ from run to run.
        let log = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
            .replace(&source.display().to_string(), "module.ptx");
        if !output.status.success() {
            return Err(PtxasError::Refused { target: target.to_owned(), message: log.trim_end().to_owned() });
        }
        let cubin = fs::read(&cubin).map_err(|e| failed("read", &cubin, e))?;
        let warnings: Vec<&str> = log.lines().filter(|line| line.contains("warning")).collect();
        Ok(Assembled { cubin, kernels: parse_resources(&log), warnings: warnings.join("\n") })
    }

    fn run(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Result<Output, PtxasError> {
        Command::new(&self.path).args(args).output().map_err(|e| failed("run", &self.path, e))
    }
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> PtxasError {
    PtxasError::Io { action, path: path.to_owned(), source }
}

/// Reads `ptxas --verbose`: for each entry a line that names it, then one of properties and one of usage.
fn parse_resources(log: &str) -> Vec<KernelResources> {
    let mut kernels: Vec<KernelResources> = Vec::new();
    for line in log.lines() {
        if let Some((_, rest)) = line.split_once("Compiling entry function '") {
            let name = rest.split('\'').next().unwrap_or_default().to_owned();
            kernels.push(KernelResources { name, ..KernelResources::default() });
            continue;
        }
        let Some(kernel) = kernels.last_mut() else { continue };
        let figures = line.strip_prefix("ptxas info    : ").unwrap_or(line);
        for figure in figures.split(',') {
            let words: Vec<&str> =
                figure.split_whitespace().filter(|word| !word.eq_ignore_ascii_case("used")).collect();
            let Some(number) = words.first().and_then(|word| word.parse().ok()) else { continue };
            match words.get(1..).unwrap_or_default() {
                ["registers"] => kernel.registers = number,
                ["barriers"] => kernel.barriers = number,
                ["bytes", "smem"] => kernel.static_shared_bytes = number,
                ["bytes", "stack", "frame"] => kernel.stack_bytes = number,
                ["bytes", "spill", "stores"] => kernel.spill_store_bytes = number,
                ["bytes", "spill", "loads"] => kernel.spill_load_bytes = number,
                _ => {}
            }
        }
    }
    kernels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_read_per_entry() {
        let log = "ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function 'a' for 'sm_90a'
ptxas info    : Function properties for a
    24 bytes stack frame, 16 bytes spill stores, 20 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers, 4096 bytes smem, 380 bytes cmem[0]
ptxas info    : Compile time = 19.787 ms
ptxas info    : Compiling entry function 'b' for 'sm_90a'
ptxas info    : Function properties for b
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 8 registers, used 0 barriers
";
        let a = KernelResources {
            name: "a".into(),
            registers: 255,
            spill_store_bytes: 16,
            spill_load_bytes: 20,
            stack_bytes: 24,
            static_shared_bytes: 4096,
            barriers: 1,
        };
        let b = KernelResources { name: "b".into(), registers: 8, ..KernelResources::default() };
        assert_eq!(parse_resources(log), [a, b]);
    }

    #[test]
    fn a_chosen_assembler_that_is_not_there_is_not_replaced() {
        let error = Ptxas::find_in(|name| (name == "GABLE_PTXAS").then(|| "no/such/ptxas".into())).unwrap_err();
        assert!(error.to_string().starts_with("`ptxas` was not found in GABLE_PTXAS (`no/such/ptxas`)"), "{error}");
    }
}
