//! The main job on real models: compiles a vision network and a small Llama for five GPUs, runs both, holds the results
//! to recorded ones, lets the Llama tell a story, and prints how far each kernel is from its roof.
//!
//! Runs on any machine, from the repository's root. With a GPU the models run on it and times are measured; without, they
//! run on the cpu and times are predicted, and are called so.

use gable::{Compiled, Device, Model, Options, Session, Target, Tensor, inputs};
use gable_tensor::Tolerance;
use gable_tensor::compare::compare;
use std::error::Error;
use std::path::Path;
use std::time::Instant;

#[path = "stories/tokenizer.rs"]
mod tokenizer;

const TARGETS: [Target; 5] = [Target::Sm90a, Target::Sm100a, Target::Sm103a, Target::Sm120a, Target::Sm121a];

/// Length that the Llama is compiled for: prompt and story together.
const STORY_TOKENS: usize = 64;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/models");
    println!("== squeezenet: what is in the picture?\n");
    let seen = picture(&folder.join("squeezenet_fp16"))?;
    println!("\n== stories260k: a Llama of 260 thousand parameters\n");
    story(&folder.join("stories260k"))?;
    println!("\n== squeezenet, kernel by kernel\n");
    print!("{}", report(&seen)?);
    Ok(())
}

/// Compiles for every target and says how long it took.
fn compile(model: &Model, options: Options) -> Outcome<Compiled> {
    let start = Instant::now();
    let compiled = TARGETS.into_iter().fold(options, Options::target).optimize(model)?;
    println!("{}\n  compiled in {:.2} s", compiled.summary(), start.elapsed().as_secs_f64());
    Ok(compiled)
}

fn picture(folder: &Path) -> Outcome<Compiled> {
    let compiled = compile(&Model::load(folder.join("model.onnx"))?, Options::new())?;
    let mut session = Session::open(&compiled, Device::Auto)?;
    let kitten = inputs::read_npy(&folder.join("kitten.npy"), None)?;
    let name = session.inputs()[0].name.clone();
    let start = Instant::now();
    let outputs = session.run(&[(&name, &kitten)])?;
    println!("ran on {} in {:.1} ms, copies included", session.device().name, start.elapsed().as_secs_f64() * 1e3);
    let scores = &outputs[0].1;
    let expected = inputs::read_npy(&folder.join("kitten_scores.npy"), None)?;
    println!("against onnxruntime's scores: {}", held(scores, &expected, Tolerance::F16_MODEL)?);

    let labels = std::fs::read_to_string(folder.join("labels.txt"))?;
    let mut ranked: Vec<(f64, &str)> = scores.scalars().map(|score| score.as_f64()).zip(labels.lines()).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (score, label) in ranked.iter().take(4) {
        println!("  {:5.1} %  {:24} {}", score * 100.0, label, "#".repeat((score * 40.0).round() as usize));
    }
    Ok(compiled)
}

fn story(folder: &Path) -> Outcome<()> {
    let model = Model::load(folder)?;
    let prompt = inputs::read_npy(&folder.join("once_upon_a_time_ids.npy"), None)?;
    let expected = inputs::read_npy(&folder.join("once_upon_a_time_logits.npy"), None)?;
    let options = Options::new().dim("batch", 1);
    let short = compile(&model, options.clone().dim("seq", prompt.len() as i64))?;
    let logits = &Session::open(&short, Device::Auto)?.run(&[("input_ids", &prompt)])?[0].1;
    println!("against the transformers library's logits: {}", held(logits, &expected, Tolerance::F32_MODEL)?);

    // One plan of fixed length: what stands after the last token cannot be seen from it.
    let compiled = options.dim("seq", STORY_TOKENS as i64).optimize(&model)?;
    let mut session = Session::open(&compiled, Device::Auto)?;
    let tokenizer = tokenizer::Tokenizer::load(&folder.join("tokenizer.json"))?;
    let mut tokens: Vec<i64> = tokenizer.encode("Once upon a time").into_iter().map(i64::from).collect();
    if tokens != prompt.to_vec::<i64>() {
        return Err(format!("the prompt became tokens {tokens:?}, recorded are {:?}", prompt.to_vec::<i64>()).into());
    }
    let start = Instant::now();
    while tokens.len() < STORY_TOKENS {
        let mut padded = tokens.clone();
        padded.resize(STORY_TOKENS, 0);
        let outputs = session.run(&[("input_ids", &Tensor::from_vec([1, STORY_TOKENS], &padded))])?;
        tokens.push(most_likely(&outputs[0].1, tokens.len() - 1));
    }
    let ids: Vec<u32> = tokens.iter().map(|&token| token as u32).collect();
    let rate = (STORY_TOKENS - prompt.len()) as f64 / start.elapsed().as_secs_f64();
    println!(
        "\n  {}\n\n  ({rate:.0} tokens/s on {}, every token by recomputing the whole prompt)",
        tokenizer.decode(&ids).trim(),
        session.device().name
    );
    Ok(())
}

/// The token with the largest logit at a position.
fn most_likely(logits: &Tensor, position: usize) -> i64 {
    let vocabulary = logits.shape()[2];
    let row = (0..vocabulary).map(|token| logits.get(position * vocabulary + token).as_f64());
    row.enumerate().max_by(|a, b| a.1.total_cmp(&b.1)).map_or(0, |(token, _)| token as i64)
}

/// Says how near a result is; a result that is not near enough is an error.
fn held(found: &Tensor, expected: &Tensor, tolerance: Tolerance) -> Outcome<String> {
    let comparison = compare(found, expected, tolerance);
    if comparison.within {
        Ok(format!("equal within tolerance ({comparison})"))
    } else {
        Err(comparison.to_string().into())
    }
}

fn report(compiled: &Compiled) -> Outcome<gable::Report> {
    let mut session = Session::open(compiled, Device::Auto)?;
    let report = session.report()?;
    match report.impossible().len() {
        0 => Ok(report),
        rows => Err(format!("{rows} rows are faster than their roof: the measurement or the roof is wrong").into()),
    }
}
