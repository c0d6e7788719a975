//! PTX to machine code by ptxas, in parallel, with the promises that every kernel keeps: no spills, no stack surprises.

use crate::options::Assemble;
use crate::{Error, Target};
use gable_artifact::{Kernel, Resources, TargetPlan};
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
    plan.kernels.par_iter_mut().try_for_each(|kernel| assemble_one(kernel, target, ptxas))
}

fn assemble_one(kernel: &mut Kernel, target: Target, ptxas: &Ptxas) -> Result<(), Error> {
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
