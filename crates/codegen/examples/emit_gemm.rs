//! Lab: kernels of products by every ranked schedule, as PTX with their launches (not committed).
use gable_codegen::contraction::region::kernel_by;
use gable_codegen::contraction::schedule::Schedule;
use gable_codegen::contraction::wgmma;
use gable_codegen::{Memory, Program};
use gable_ir::{Module, text};
use gable_ptx::Target;
use std::fmt::Write;

fn main() {
    let out = std::env::args().nth(1).expect("folder");
    let top: usize = std::env::args().nth(2).map_or(3, |t| t.parse().unwrap());
    let form = std::env::args().nth(3).unwrap_or_else(|| "plain".into());
    let shapes: Vec<(usize, usize, usize)> = match std::env::args().nth(4) {
        Some(list) => list
            .split(';')
            .map(|s| {
                let v: Vec<usize> = s.split('x').map(|x| x.parse().unwrap()).collect();
                (v[0], v[1], v[2])
            })
            .collect(),
        None => vec![
            (4096, 4096, 4096),
            (8192, 8192, 8192),
            (16384, 3072, 768),
            (65536, 4096, 1024),
            (262144, 5120, 1280),
            (4096, 6144, 4096),
            (4096, 28672, 4096),
            (4096, 4096, 14336),
            (2048, 128256, 2048),
            (512, 4096, 4096),
            (128, 4096, 4096),
            (1000, 1000, 1000),
        ],
    };
    let mut json = String::from("[\n");
    for (m, n, k) in shapes {
        let (more, after, result) = match form.as_str() {
            "gelu" => (
                format!(", %bias: bf16[{n}]"),
                format!(
                    "    %1 = broadcast %bias {{shape=[{m}, {n}]}} : bf16[{m}, {n}]\n    %2 = add %0, %1 : bf16[{m}, {n}]\n    %3 = gelu %2 {{tanh=true}} : bf16[{m}, {n}]\n"
                ),
                "%3",
            ),
            "residual" => {
                (format!(", %rest: bf16[{m}, {n}]"), format!("    %1 = add %0, %rest : bf16[{m}, {n}]\n"), "%1")
            }
            _ => (String::new(), String::new(), "%0"),
        };
        let source = format!(
            "graph @g(%a: bf16[{m}, {k}], %b: bf16[{n}, {k}]{more}) {{\n  region @r contraction {{\n    %t = transpose %b {{perm=[1, 0]}} : bf16[{k}, {n}]\n    %0 = matmul %a, %t {{acc=f32, out=bf16}} : bf16[{m}, {n}]\n{after}  }}\n  return c = {result}\n}}\n"
        );
        let graph = text::parse(&source).unwrap_or_else(|e| panic!("{source}{e}"));
        let module = Module { graph, ..Module::default() };
        let program = Program::of_region(&module.graph, &module.graph.regions[0]).unwrap();
        let mut ranked = Vec::new();
        let machine = gable_roofline::Machine::for_target("sm_90a").unwrap();
        kernel_by(&program, Target::Sm90a, &[], |problem| {
            ranked = wgmma::rule::ranked(problem, Target::Sm90a, machine);
            Ok(Schedule::Wgmma(ranked[0].1))
        })
        .unwrap();
        for (seconds, schedule) in ranked.into_iter().take(top) {
            let started = std::time::Instant::now();
            let kernel = kernel_by(&program, Target::Sm90a, &[], |_| Ok(Schedule::Wgmma(schedule))).unwrap().unwrap();
            let took = started.elapsed();
            let launch = kernel.launch(&program);
            let name = format!(
                "{m}x{n}x{k}_{}x{}_{}{}",
                schedule.tile.m,
                schedule.tile.n,
                if schedule.sharing == wgmma::schedule::Sharing::PingPong { "p" } else { "c" },
                schedule.consumers
            );
            let ptx = gable_ptx::Module::new(Target::Sm90a, vec![launch.kernel.clone()]).to_string();
            std::fs::write(format!("{out}/{name}.ptx"), ptx).unwrap();
            let graph = &module.graph;
            let named = |p: usize| graph.inputs().iter().position(|id| *id == program.inputs[p].1).unwrap();
            let args: Vec<String> = launch
                .args
                .iter()
                .map(|a| match a {
                    Memory::Input(p) => format!("[\"in\",{}]", named(*p)),
                    Memory::Output(p) => format!("[\"out\",{p}]"),
                    Memory::TensorMap { of, map } => format!(
                        "[\"map\",[\"{}\",{}],{}]",
                        if matches!(**of, Memory::Input(_)) { "in" } else { "out" },
                        match **of {
                            Memory::Input(p) => named(p),
                            Memory::Output(p) => p,
                            _ => 0,
                        },
                        serde_json::to_string(map).unwrap()
                    ),
                    _ => panic!(),
                })
                .collect();
            eprintln!("{name} {schedule} predicted {:.1} us, emitted in {took:?}", seconds * 1e6);
            writeln!(json, "{{\"name\":\"{name}\",\"entry\":\"{}\",\"form\":\"{form}\",\"m\":{m},\"n\":{n},\"k\":{k},\"grid\":{},\"block\":{},\"smem\":{},\"predicted\":{},\"args\":[{}]}},", launch.kernel.name, launch.grid[0], launch.block[0], launch.dynamic_shared_bytes, seconds * 1e6, args.join(",")).unwrap();
        }
    }
    json.truncate(json.len() - 2);
    json += "\n]\n";
    std::fs::write(format!("{out}/kernels.json"), json).unwrap();
}
