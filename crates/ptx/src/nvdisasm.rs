//! NVIDIA's disassembler as a child process: a cubin in, the names of its machine instructions out.
//!
//! Used to see that what a kernel's class promises is what the assembler made. `nvdisasm` is looked for in `GABLE_NVDISASM` and where
//! [`crate::toolkit`] says; only compilers and tests call it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs, io};

use crate::toolkit::{self, WorkFolder};

/// A disassembler that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nvdisasm {
    path: PathBuf,
}

/// One machine instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineInstruction {
    /// Its name with modifiers, `HGMMA.64x256x16.F32.BF16`.
    pub name: String,
    /// Whether it lies between a place and a later branch back to that place.
    pub in_loop: bool,
}

/// Why there is no listing.
#[derive(Debug, thiserror::Error)]
pub enum NvdisasmError {
    /// There is no disassembler on this machine.
    #[error("`nvdisasm` was not found in {}: install a CUDA toolkit, set GABLE_NVDISASM, or run `cargo xtask tools`", tried.join(", "))]
    NotFound {
        /// Where it was looked for.
        tried: Vec<String>,
    },
    /// The disassembler could not be run, or its file not be written.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What went wrong.
        source: io::Error,
    },
    /// The disassembler refused the file.
    #[error("`nvdisasm` failed:\n{message}")]
    Refused {
        /// What it said.
        message: String,
    },
}

impl Nvdisasm {
    /// The disassembler of this machine.
    pub fn find() -> Result<Nvdisasm, NvdisasmError> {
        let path = toolkit::find("nvdisasm", "GABLE_NVDISASM", |name| env::var_os(name));
        path.map(|path| Nvdisasm { path }).map_err(|tried| NvdisasmError::NotFound { tried })
    }

    /// The instructions of every kernel of a cubin, by the kernel's name, in order.
    pub fn instructions(&self, cubin: &[u8]) -> Result<BTreeMap<String, Vec<MachineInstruction>>, NvdisasmError> {
        let failed = |action, path: &Path, source| NvdisasmError::Io { action, path: path.to_owned(), source };
        let folder = WorkFolder::new().map_err(|(path, e)| failed("create", &path, e))?;
        let file = folder.path.join("module.cubin");
        fs::write(&file, cubin).map_err(|e| failed("write", &file, e))?;
        let output =
            Command::new(&self.path).arg("-c").arg(&file).output().map_err(|e| failed("run", &self.path, e))?;
        if !output.status.success() {
            // The folder's name is chance; messages must not differ from run to run.
            let message = String::from_utf8_lossy(&output.stderr).replace(&file.display().to_string(), "module.cubin");
            return Err(NvdisasmError::Refused { message: message.trim_end().to_owned() });
        }
        Ok(listing(&String::from_utf8_lossy(&output.stdout)))
    }
}

/// Reads `nvdisasm -c`: sections `.text.NAME:`, labels `.L_x_1:`, instructions `/*0000*/ @P0 BRA `(.L_x_1) ;`.
fn listing(text: &str) -> BTreeMap<String, Vec<MachineInstruction>> {
    let mut kernels: BTreeMap<String, Vec<MachineInstruction>> = BTreeMap::new();
    let mut open: Option<(String, BTreeMap<&str, usize>)> = None;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix(".text.").and_then(|rest| rest.strip_suffix(':')) {
            kernels.insert(name.to_owned(), Vec::new());
            open = Some((name.to_owned(), BTreeMap::new()));
            continue;
        }
        let Some((name, labels)) = &mut open else { continue };
        let Some(instructions) = kernels.get_mut(name) else { continue };
        if let Some(label) = line.strip_suffix(':').filter(|label| label.starts_with(".L")) {
            labels.insert(label, instructions.len());
            continue;
        }
        let Some((_, words)) = line.trim_start().strip_prefix("/*").and_then(|rest| rest.split_once("*/")) else {
            continue;
        };
        let mut words = words.split_whitespace().skip_while(|word| word.starts_with('@'));
        let Some(mnemonic) = words.next() else { continue };
        instructions.push(MachineInstruction { name: mnemonic.trim_end_matches(';').to_owned(), in_loop: false });
        let target = line.split_once("`(").and_then(|(_, rest)| rest.split_once(')')).map(|(label, _)| label);
        let back = target.and_then(|label| labels.get(label)).filter(|_| mnemonic.starts_with("BRA"));
        if let Some(&start) = back {
            instructions[start..].iter_mut().for_each(|instruction| instruction.in_loop = true);
        }
    }
    kernels
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_know_whether_a_branch_leads_back_over_them() {
        let text = "\t.section\t.text.k,\"ax\",@progbits
k:
.text.k:
        /*0000*/                   LDC R1, c[0x0][0x28] ;
        /*0010*/              @!P0 BRA `(.L_x_2) ;
.L_x_1:
        /*0020*/                   HGMMA.64x256x16.F32.BF16 R24, gdesc[UR16], R24, UP0 ;
        /*0030*/               @P1 BRA `(.L_x_1) ;
.L_x_2:
        /*0040*/                   EXIT ;
";
        let found = listing(text);
        let names: Vec<(&str, bool)> = found["k"].iter().map(|i| (i.name.as_str(), i.in_loop)).collect();
        assert_eq!(
            names,
            [("LDC", false), ("BRA", false), ("HGMMA.64x256x16.F32.BF16", true), ("BRA", true), ("EXIT", false)]
        );
    }
}
