//! PTX to machine code by ptxas, in parallel, with the promises that every kernel keeps: no spills, and products by the
//! instructions of its class, which a disassembler shows where there is one.

use crate::options::Assemble;
use crate::{Error, Target};
use gable_artifact::{Kernel, Resources, TargetPlan};
use gable_codegen::Class;
use gable_ptx::nvdisasm::Nvdisasm;
use gable_ptx::ptxas::Ptxas;
use rayon::prelude::*;

/// The assembler that the options ask for; `None` when kernels stay PTX.
pub(crate) fn assembler(choice: &Assemble) -> Result<Option<Ptxas>, Error> {
    match choice {
        Assemble::Never => Ok(None),
        Assemble::With(path) => Ok(Some(Ptxas::at(path))),
        Assemble::IfFound => match Ptxas::find() {
            Ok(ptxas) => Ok(Some(ptxas)),
            Err(error) => {
                tracing::info!("{error}; kernels stay PTX, and the driver assembles them");
                Ok(None)
            }
        },
    }
}

/// Assembles every kernel of a plan and checks what the assembler reports.
pub(crate) fn assemble(plan: &mut TargetPlan, target: Target, ptxas: &Ptxas) -> Result<(), Error> {
    let nvdisasm = Nvdisasm::find().inspect_err(|error| tracing::info!("{error}; machine code is not looked at")).ok();
    plan.kernels.par_iter_mut().try_for_each(|kernel| assemble_one(kernel, target, ptxas, nvdisasm.as_ref()))
}

fn assemble_one(kernel: &mut Kernel, target: Target, ptxas: &Ptxas, nvdisasm: Option<&Nvdisasm>) -> Result<(), Error> {
    let assembled = ptxas.assemble(&kernel.ptx, target).map_err(|source| Error::Assemble {
        kernel: kernel.name.clone(),
        target: target.to_string(),
        source,
    })?;
    let promise = |what: String| Error::KernelPromise { kernel: kernel.name.clone(), target: target.to_string(), what };
    let found = assembled.kernels.iter().find(|found| found.name == kernel.entry);
    let found = found.ok_or_else(|| promise(format!("has no entry `{}` in the assembler's report", kernel.entry)))?;
    if found.spill_store_bytes > 0 || found.spill_load_bytes > 0 {
        return Err(promise(format!(
            "spills {} bytes out and {} bytes back: its schedule takes too many registers",
            found.spill_store_bytes, found.spill_load_bytes
        )));
    }
    let class =
        Class::named(&kernel.class).ok_or_else(|| promise(format!("has no known class: `{}`", kernel.class)))?;
    if let Some(nvdisasm) = nvdisasm.filter(|_| !class.machine_names().is_empty()) {
        // A disassembler older than the target knows nothing against the kernel.
        match nvdisasm.instructions(&assembled.cubin) {
            Ok(code) => class.kept_by(code.get(&kernel.entry).map_or(&[], Vec::as_slice)).map_err(promise)?,
            Err(error) => {
                tracing::warn!("machine code of kernel `{}` for {target} is not looked at: {error}", kernel.name)
            }
        }
    }
    kernel.resources = Some(Resources {
        registers: found.registers,
        spill_store_bytes: found.spill_store_bytes,
        spill_load_bytes: found.spill_load_bytes,
        stack_bytes: found.stack_bytes,
        static_shared_bytes: found.static_shared_bytes,
        barriers: found.barriers,
        ..Resources::default()
    });
    kernel.cubin = Some(assembled.cubin.into());
    Ok(())
}
