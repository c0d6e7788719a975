//! The measured roof of a device's memory: how fast it copies within itself.

use super::context::Context;
use super::memory::DeviceBuffer;
use super::nvml;
use super::stream::{Event, RecordPlace, Stream};
use crate::error::RuntimeError;
use crate::timing::{CopyBandwidth, Timing};
use gable_tensor::random::Random;

/// Large against every cache, so that nearly all bytes come from memory and go to it.
const BUFFER_BYTES: usize = 1 << 30;
/// Random bytes made on the host, and then copied until the buffer is full.
const SEED_BYTES: usize = 16 << 20;
const WARM_UP: usize = 5;
const REPETITIONS: usize = 30;

/// Copies a large buffer of random data within device `ordinal` and counts the bytes read and written.
pub fn measure_copy_bandwidth(ordinal: usize) -> Result<CopyBandwidth, RuntimeError> {
    let context = Context::retain(ordinal)?;
    let stream = Stream::new(&context)?;
    let (free, _) = context.memory()?;
    // A power of two, so that doubling fills it exactly.
    let bytes = BUFFER_BYTES.min(free / 4).max(SEED_BYTES).next_power_of_two();
    let bytes = if bytes > free / 2 { bytes / 2 } else { bytes };
    let buffer = || DeviceBuffer::new(&context, bytes, || "measuring the copy bandwidth".to_string());
    let (source, target) = (buffer()?, buffer()?);

    // Random bits: data lines that toggle as they do in use. Zeros run faster on some boards.
    let mut random = Random::new(0);
    let seed: Vec<u8> = (0..SEED_BYTES.min(bytes) / 8).flat_map(|_| random.next_u64().to_le_bytes()).collect();
    stream.upload(&source, &seed)?;
    let mut filled = seed.len();
    while filled < bytes {
        let more = filled.min(bytes - filled);
        stream.copy(source.address(), source.address() + filled as u64, more)?;
        filled += more;
    }

    let (start, end) = (Event::new(&context)?, Event::new(&context)?);
    let mut samples = Vec::with_capacity(REPETITIONS);
    for repetition in 0..WARM_UP + REPETITIONS {
        stream.record(&start, RecordPlace::Stream)?;
        stream.copy(source.address(), target.address(), bytes)?;
        stream.record(&end, RecordPlace::Stream)?;
        stream.synchronize()?;
        if repetition >= WARM_UP {
            samples.push(start.seconds_until(&end)?);
        }
    }
    let copy = Timing::of(samples).expect("there are repetitions");
    Ok(CopyBandwidth {
        device: context.info.clone(),
        clocks: nvml::clocks(&context.cuda().uuid),
        buffer_bytes: bytes as u64,
        copy,
        bytes_per_second: 2.0 * bytes as f64 / copy.median_s,
    })
}
