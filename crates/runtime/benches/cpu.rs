//! Whole models on the cpu device, steady state: `cargo bench -p gable-runtime --bench cpu`.
//!
//! MiniLM comes from `cargo xtask models`, SqueezeNet from the model collection (`GABLE_MODELS`, else `shared/models`
//! beside the workspace); what is absent is skipped. With `GABLE_PROFILE` set, one run's time by op comes first.

use criterion::{Criterion, criterion_group, criterion_main};
use gable_capture::Model;
use gable_ir::Module;
use gable_runtime::cpu::CpuProgram;
use gable_tensor::{Bindings, Tensor, mapped_file, npy};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn collection() -> PathBuf {
    std::env::var_os("GABLE_MODELS").map_or_else(|| workspace().join("../shared/models"), PathBuf::from)
}

/// The model for the inputs' shapes, or `None` when it is not there.
fn module(path: &Path, inputs: &[(&str, &Tensor)]) -> Option<Module> {
    if !path.exists() {
        println!("SKIPPED: `{}` is not there", path.display());
        return None;
    }
    let model = Model::load(path).unwrap_or_else(|e| panic!("{e}"));
    let mut bindings = Bindings::new();
    let shapes: Vec<(&str, &[usize])> = inputs.iter().map(|(name, tensor)| (*name, tensor.shape())).collect();
    model.bind_shapes(&shapes, &mut bindings).unwrap_or_else(|e| panic!("{e}"));
    Some(model.module(&bindings).unwrap_or_else(|e| panic!("{e}")))
}

fn bench(criterion: &mut Criterion, name: &str, module: &Module, inputs: &[(&str, &Tensor)]) {
    let program = CpuProgram::new(module).unwrap_or_else(|e| panic!("{e}"));
    let run = || program.run(inputs).unwrap_or_else(|e| panic!("{e}"));
    run();
    if std::env::var_os("GABLE_PROFILE").is_some() {
        let mut by_op: BTreeMap<&str, (usize, Duration)> = BTreeMap::new();
        for step in program.profile(inputs).unwrap_or_else(|e| panic!("{e}")) {
            let entry = by_op.entry(step.op).or_default();
            *entry = (entry.0 + 1, entry.1 + step.time);
        }
        for (op, (n, time)) in by_op {
            println!("{name} {op:<16} {n:>4} steps {time:>12.3?}");
        }
    }
    criterion.bench_function(name, |bencher| bencher.iter(run));
}

fn models(criterion: &mut Criterion) {
    let threads = rayon::current_num_threads();
    let ids: Vec<i64> = (0..128).map(|i| 1000 + i * 37 % 20_000).collect();
    let (ids, mask) = (Tensor::from_vec([1, 128], &ids), Tensor::from_vec([1, 128], &[1i64; 128]));
    let inputs = [("input_ids", &ids), ("attention_mask", &mask)];
    for (name, file) in [("minilm safetensors", ""), ("minilm onnx", "model.onnx")] {
        let path = workspace().join("tools/models/all-minilm-l6-v2").join(file);
        if let Some(module) = module(&path, &inputs) {
            bench(criterion, &format!("{name}, 128 tokens, {threads} threads"), &module, &inputs);
        }
    }
    let folder = collection().join("onnx/squeezenet_fp16");
    let Ok(image) = mapped_file::map(&folder.join("data_0/input_0.npy")) else {
        return println!("SKIPPED: `{}` is not there", folder.display());
    };
    let image = npy::read(&image).expect("the collection's arrays are valid");
    let inputs = [("data_0", &image)];
    if let Some(module) = module(&folder.join("model.onnx"), &inputs) {
        bench(criterion, &format!("squeezenet_fp16, 224x224, {threads} threads"), &module, &inputs);
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20).measurement_time(Duration::from_secs(4));
    targets = models
}
criterion_main!(benches);
