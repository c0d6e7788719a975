//! Random straight-line programs of the builder's rows, run by the emulator and by a plain evaluator that knows a row by its
//! `Meaning` alone. Both take the same text apart by nothing in common but the table; every register is compared to the bit.

mod evaluate;
mod floats;
mod program;

use gable_emulator::{GlobalMemory, Launch, Module, Options};
use gable_ptx::Target;

use program::{Program, Random};

const THREADS: usize = 32;

/// The registers of every thread after the program, as the emulator has them.
fn emulate(program: &Program, input: &[u64]) -> Vec<u64> {
    let text = program.text();
    let kernel = Module::parse(&text).and_then(|module| module.kernel("main", Target::Sm120a));
    let kernel = kernel.unwrap_or_else(|error| panic!("{error}\n{text}"));
    let mut memory = GlobalMemory::new();
    let bytes: Vec<u8> = input.iter().flat_map(|word| word.to_le_bytes()).collect();
    let input = memory.allocate_with("input", &bytes);
    let output = memory.allocate("output", bytes.len() as u64);
    let params = kernel.pack(&[input.to_le_bytes().to_vec(), output.to_le_bytes().to_vec()]);
    let params = params.unwrap_or_else(|error| panic!("{error}"));
    let launch = Launch { grid: [1; 3], block: [THREADS as u32, 1, 1], cluster: [1; 3], shared_bytes: 0, params };
    let outcome = kernel.run(&mut memory, &launch, &Options::default()).unwrap_or_else(|error| panic!("{error}"));
    assert!(outcome.hazards.is_empty(), "{}\n{text}", outcome.hazards[0]);
    let (contents, _) = memory.contents(output).expect("the output is an allocation");
    contents.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes"))).collect()
}

/// The first register that differs, with the program.
fn check(program: &Program, random: &mut Random) -> Result<(), String> {
    let registers = Program::registers();
    let input: Vec<u64> = (0..THREADS * registers).map(|i| program::start(random, i % registers)).collect();
    let found = emulate(program, &input);
    for thread in 0..THREADS {
        let of_thread = thread * registers..(thread + 1) * registers;
        let (start, found) = (&input[of_thread.clone()], &found[of_thread]);
        let mut state = start.to_vec();
        for step in &program.steps {
            evaluate::step(step, &mut state)
                .unwrap_or_else(|| panic!("`{}`: the plain evaluator does not know it", step.text()));
        }
        if let Some(place) = (0..registers).find(|&i| state[i] != found[i]) {
            let listed = |words: &[u64]| {
                (0..registers)
                    .map(|i| format!("{} {:#x}", Program::register(i), words[i]))
                    .collect::<Vec<_>>()
                    .join(", ")
            };
            let steps: Vec<String> = program.steps.iter().map(program::Step::text).collect();
            let (name, found, state) = (Program::register(place), found[place], state[place]);
            return Err(format!(
                "{name} is {found:#x}, evaluated {state:#x} after\n{}\nfrom {}",
                steps.join("\n"),
                listed(start)
            ));
        }
    }
    Ok(())
}

#[test]
fn every_pure_row_gives_what_its_meaning_says() {
    // A program of one row each: a difference names the row.
    let mut random = Random(1);
    let check_row = |opcode| {
        let program = Program::of(&mut random, &[opcode]);
        check(&program, &mut random).err()
    };
    let different: Vec<String> = program::rows().into_iter().filter_map(check_row).collect();
    assert!(different.is_empty(), "{} rows differ\n{}", different.len(), different.join("\n\n"));
}

#[test]
fn long_random_programs_leave_the_same_registers() {
    let mut random = Random(2);
    let rows = program::rows();
    for _ in 0..24 {
        let chosen: Vec<_> = (0..300).map(|_| rows[random.below(rows.len())]).collect();
        let program = Program::of(&mut random, &chosen);
        check(&program, &mut random).unwrap_or_else(|difference| panic!("{difference}"));
    }
}
