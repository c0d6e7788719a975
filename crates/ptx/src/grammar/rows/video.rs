//! Video instructions: arithmetic on bytes and half-words of registers.

use super::{BASE, rows, sm};

rows! {
    Vadd:
        "vadd(.u32|.s32)(.u32|.s32)(.u32|.s32){.sat}{.add|.min|.max}", BASE;
    Vsub:
        "vsub(.u32|.s32)(.u32|.s32)(.u32|.s32){.sat}{.add|.min|.max}", BASE;
    Vabsdiff:
        "vabsdiff(.u32|.s32)(.u32|.s32)(.u32|.s32){.sat}{.add|.min|.max}", BASE;
    Vmin:
        "vmin(.u32|.s32)(.u32|.s32)(.u32|.s32){.sat}{.add|.min|.max}", BASE;
    Vmax:
        "vmax(.u32|.s32)(.u32|.s32)(.u32|.s32){.sat}{.add|.min|.max}", BASE;
    Vshl:
        "vshl(.u32|.s32)(.u32|.s32).u32{.sat}(.clamp|.wrap){.add|.min|.max}", BASE;
    Vshr:
        "vshr(.u32|.s32)(.u32|.s32).u32{.sat}(.clamp|.wrap){.add|.min|.max}", BASE;
    Vmad:
        "vmad(.u32|.s32)(.u32|.s32)(.u32|.s32){.po}{.sat}{.shr7|.shr15}", BASE;
    Vset:
        "vset(.u32|.s32)(.u32|.s32)(.eq|.ne|.lt|.le|.gt|.ge){.add|.min|.max}", BASE;
    Vadd2:
        "vadd2(.u32|.s32)(.u32|.s32)(.u32|.s32){.sat|.add}", sm(30, 3, 0);
    Vsub2:
        "vsub2(.u32|.s32)(.u32|.s32)(.u32|.s32){.sat|.add}", sm(30, 3, 0);
    Vavrg2:
        "vavrg2(.u32|.s32)(.u32|.s32)(.u32|.s32){.sat|.add}", sm(30, 3, 0);
    Vabsdiff2:
        "vabsdiff2(.u32|.s32)(.u32|.s32)(.u32|.s32){.sat|.add}", sm(30, 3, 0);
    Vmin2:
        "vmin2(.u32|.s32)(.u32|.s32)(.u32|.s32){.sat|.add}", sm(30, 3, 0);
    Vmax2:
        "vmax2(.u32|.s32)(.u32|.s32)(.u32|.s32){.sat|.add}", sm(30, 3, 0);
    Vset2:
        "vset2(.u32|.s32)(.u32|.s32)(.eq|.ne|.lt|.le|.gt|.ge){.add}", sm(30, 3, 0);
    Vadd4:
        "vadd4(.u32|.s32)(.u32|.s32)(.u32|.s32){.sat|.add}", sm(30, 3, 0);
    Vsub4:
        "vsub4(.u32|.s32)(.u32|.s32)(.u32|.s32){.sat|.add}", sm(30, 3, 0);
    Vavrg4:
        "vavrg4(.u32|.s32)(.u32|.s32)(.u32|.s32){.sat|.add}", sm(30, 3, 0);
    Vabsdiff4:
        "vabsdiff4(.u32|.s32)(.u32|.s32)(.u32|.s32){.sat|.add}", sm(30, 3, 0);
    Vmin4:
        "vmin4(.u32|.s32)(.u32|.s32)(.u32|.s32){.sat|.add}", sm(30, 3, 0);
    Vmax4:
        "vmax4(.u32|.s32)(.u32|.s32)(.u32|.s32){.sat|.add}", sm(30, 3, 0);
    Vset4:
        "vset4(.u32|.s32)(.u32|.s32)(.eq|.ne|.lt|.le|.gt|.ge){.add}", sm(30, 3, 0);
}
