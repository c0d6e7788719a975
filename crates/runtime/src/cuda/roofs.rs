//! The measured roofs of a device's memory: how fast it copies within itself, and how fast it is read.

use super::context::Context;
use super::memory::DeviceBuffer;
use super::nvml;
use super::reader::Reader;
use super::stream::{Event, RecordPlace, Stream};
use crate::error::{CudaError, RuntimeError};
use crate::timing::{CopyBandwidth, ReadBandwidth, Timing};
use gable_tensor::random::Random;
use std::sync::Arc;

/// Large against every cache, so that nearly all bytes come from memory and go to it.
const BUFFER_BYTES: usize = 1 << 30;
/// Random bytes made on the host, and then copied until the buffer is full.
const SEED_BYTES: usize = 16 << 20;
const WARM_UP: usize = 5;
const REPETITIONS: usize = 30;

/// A large buffer of random data, and what it takes to time work on it.
struct Roof {
    context: Arc<Context>,
    stream: Stream,
    source: DeviceBuffer,
}

impl Roof {
    fn new(ordinal: usize, what: &str) -> Result<Roof, RuntimeError> {
        let context = Context::retain(ordinal)?;
        let stream = Stream::new(&context)?;
        let (free, _) = context.memory()?;
        // A power of two, so that doubling fills it exactly.
        let bytes = BUFFER_BYTES.min(free / 4).max(SEED_BYTES).next_power_of_two();
        let bytes = if bytes > free / 2 { bytes / 2 } else { bytes };
        let source = DeviceBuffer::new(&context, bytes, || format!("measuring {what}"))?;

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
        Ok(Roof { context, stream, source })
    }

    fn time(&self, work: impl Fn(&Stream) -> Result<(), CudaError>) -> Result<Timing, RuntimeError> {
        let (start, end) = (Event::new(&self.context)?, Event::new(&self.context)?);
        let mut samples = Vec::with_capacity(REPETITIONS);
        for repetition in 0..WARM_UP + REPETITIONS {
            self.stream.record(&start, RecordPlace::Stream)?;
            work(&self.stream)?;
            self.stream.record(&end, RecordPlace::Stream)?;
            self.stream.synchronize()?;
            if repetition >= WARM_UP {
                samples.push(start.seconds_until(&end)?);
            }
        }
        Ok(Timing::of(samples).expect("there are repetitions"))
    }
}

/// Copies a large buffer of random data within device `ordinal` and counts the bytes read and written.
pub fn measure_copy_bandwidth(ordinal: usize) -> Result<CopyBandwidth, RuntimeError> {
    let roof = Roof::new(ordinal, "the copy bandwidth")?;
    let bytes = roof.source.bytes();
    let target = DeviceBuffer::new(&roof.context, bytes, || "measuring the copy bandwidth".to_string())?;
    let copy = roof.time(|stream| stream.copy(roof.source.address(), target.address(), bytes))?;
    Ok(CopyBandwidth {
        device: roof.context.info.clone(),
        clocks: nvml::clocks(&roof.context.cuda().uuid),
        buffer_bytes: bytes as u64,
        copy,
        bytes_per_second: 2.0 * bytes as f64 / copy.median_s,
    })
}

/// Reads a large buffer of random data in the memory of device `ordinal`.
pub fn measure_read_bandwidth(ordinal: usize) -> Result<ReadBandwidth, RuntimeError> {
    let roof = Roof::new(ordinal, "the read bandwidth")?;
    let bytes = roof.source.bytes();
    let reader = Reader::new(&roof.context)?;
    let read = roof.time(|stream| reader.read(stream, roof.source.address(), bytes))?;
    Ok(ReadBandwidth { buffer_bytes: bytes as u64, read, bytes_per_second: bytes as f64 / read.median_s })
}
