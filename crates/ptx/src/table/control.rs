//! Branches, ends, and dependencies between kernels.

use super::columns::*;
use crate::slot::Jump;

super::forms! {
    { "control-flow-instructions-bra", Control, Control, BASE }
    bra(Nothing <- label: Jump) = "bra" => Branch { uniform: false };
    bra_uni(Nothing <- label: Jump) = "bra.uni" => Branch { uniform: true };

    { "control-flow-instructions-exit", Control, Control, BASE }
    exit(Nothing <- ) = "exit" => Exit;

    { "control-flow-instructions-ret", Control, Control, BASE }
    ret(Nothing <- ) = "ret" => Return;

    { "miscellaneous-instructions-trap", Control, Control, BASE }
    trap(Nothing <- ) = "trap" => Trap;

    { "parallel-synchronization-and-communication-instructions-griddepcontrol", Control, Grid, from(90, 7, 8) }
    griddepcontrol_wait(Nothing <- ) = "griddepcontrol.wait" => GridWait;
    griddepcontrol_launch_dependents(Nothing <- ) = "griddepcontrol.launch_dependents" => GridLaunchDependents;
}
