//! A Llama of 260 thousand parameters tells a story, one token after another.
//!
//! ```text
//! cargo run --release --example stories -- "Once upon a time"
//! ```
//! The plan is for one length: the text so far is filled up to it, and since a position never sees those after it, the
//! logits of the last real position are right. Each token computes the whole text anew.

mod tokenizer;

use gable::{Device, Model, Options, Session, Tensor};
use std::error::Error;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;
use tokenizer::{END, Tokenizer};

/// Tokens of the prompt and the story together.
const LENGTH: usize = 128;

fn main() -> Result<(), Box<dyn Error>> {
    let prompt = std::env::args().nth(1).unwrap_or_else(|| "Once upon a time".into());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/models/stories260k");
    let tokenizer = Tokenizer::load(&folder.join("tokenizer.json"))?;
    let model = Model::load(&folder)?;
    let compiled = Options::new().dim("batch", 1).dim("seq", LENGTH as i64).optimize(&model)?;
    let mut session = Session::open(&compiled, Device::Auto)?;

    let mut tokens = tokenizer.encode(&prompt);
    if tokens.len() >= LENGTH {
        return Err(format!("the prompt has {} tokens, expected fewer than {LENGTH}", tokens.len()).into());
    }
    let (n_prompt, start) = (tokens.len(), Instant::now());
    let mut shown = 0;
    while tokens.len() < LENGTH && tokens.last() != Some(&END) {
        let next = next_token(&mut session, &tokens)?;
        tokens.push(next);
        let text = tokenizer.decode(&tokens);
        // What ends in a replacement character may be half of a character.
        if !text.ends_with(char::REPLACEMENT_CHARACTER) {
            print!("{}", &text[shown..]);
            std::io::stdout().flush()?;
            shown = text.len();
        }
    }
    let n = tokens.len() - n_prompt;
    let per_second = n as f64 / start.elapsed().as_secs_f64();
    println!("\n\n{n} tokens on {}, {per_second:.0} per second", session.device().name);
    Ok(())
}

/// The likeliest token after `tokens`.
fn next_token(session: &mut Session, tokens: &[u32]) -> Result<u32, Box<dyn Error>> {
    let mut filled: Vec<i64> = tokens.iter().map(|&token| i64::from(token)).collect();
    filled.resize(LENGTH, i64::from(END));
    let outputs = session.run(&[("input_ids", &Tensor::from_vec([1, LENGTH], &filled))])?;
    let logits = outputs[0].1.to_vec::<f32>();
    let n_vocab = logits.len() / LENGTH;
    let last = &logits[(tokens.len() - 1) * n_vocab..tokens.len() * n_vocab];
    let best = (0..n_vocab).max_by(|&a, &b| last[a].total_cmp(&last[b])).ok_or("the model has no vocabulary")?;
    Ok(u32::try_from(best)?)
}
