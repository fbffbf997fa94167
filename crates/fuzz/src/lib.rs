//! Fuzz targets that are tests: inputs are mutated for a bounded time and checked against a property that holds for any
//! input. Called by the tests of the crates that decode or decide something; no program links this crate.
//!
//! `cargo xtask fuzz` sets the environment; without it each target runs for a second from a fixed seed. An input that
//! fails is made smaller and written to the target's directory. [`Target::repeat_regressions`] checks the inputs of
//! that directory again.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

/// Maximum length of an input, in characters.
const INPUT_MAX: usize = 2_000;

/// The check of one input. The error describes the violation; a panic counts as a violation too.
pub type Property = fn(&str) -> Result<(), String>;

#[derive(Debug, Clone, Copy)]
pub struct Target {
    pub name: &'static str,
    pub property: Property,
    /// The inputs that are mutated.
    pub seeds: fn() -> Vec<String>,
    /// The texts that a mutation inserts into inputs.
    pub tokens: &'static [&'static str],
    /// The directory of the inputs that failed.
    pub regressions: &'static str,
}

/// Checks one condition of a property.
///
/// # Errors
/// `what`, which describes the violation, if the condition does not hold.
pub fn must(holds: bool, what: &str) -> Result<(), String> {
    match holds {
        true => Ok(()),
        false => Err(what.to_owned()),
    }
}

/// The bytes that an input encodes: a character up to U+00FF is one byte, so that every sequence of bytes has an input.
pub fn bytes(input: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(input.len());
    for c in input.chars() {
        match u8::try_from(u32::from(c)) {
            Ok(byte) => bytes.push(byte),
            Err(_) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

/// The input that encodes these bytes.
pub fn input(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

/// SplitMix64: a seed gives the same numbers on every platform.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % limit.max(1) as u64) as usize
    }

    fn pick<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
}

impl Target {
    /// Checks the property for mutated inputs until the time limit.
    ///
    /// # Panics
    /// When the property fails for an input.
    #[expect(clippy::print_stderr, reason = "`cargo xtask fuzz` shows the figures")]
    pub fn fuzz(&self) {
        let name = self.name;
        let limit = Duration::from_millis(setting("AGENT_TEAM_FUZZ_MS").unwrap_or(1_000));
        let seed = setting("AGENT_TEAM_FUZZ_SEED").unwrap_or(1);
        let (mut random, seeds) = (Random(seed), (self.seeds)());
        let (start, mut runs) = (Instant::now(), 0_u64);
        while start.elapsed() < limit {
            let input = self.mutated(&mut random, &seeds);
            runs += 1;
            if self.violation(&input).is_none() {
                continue;
            }
            let input = self.smaller(&input);
            let why = self.violation(&input).unwrap_or_default();
            let mut hasher = DefaultHasher::new();
            input.hash(&mut hasher);
            let directory = Path::new(self.regressions);
            let file = directory.join(format!("{name}-{:016x}", hasher.finish()));
            let written = std::fs::create_dir_all(directory);
            let written = written.and_then(|()| std::fs::write(&file, &input));
            panic!(
                "{name}, seed {seed}, input {runs}: {why}: {input:?}\nwritten to {}: {written:?}",
                file.display()
            );
        }
        eprintln!(
            "fuzz {name}: {runs} inputs in {:.1} s, seed {seed}",
            start.elapsed().as_secs_f64()
        );
    }

    /// Checks the property for each seed.
    ///
    /// # Panics
    /// When the property fails for a seed, or there is no seed.
    pub fn check_seeds(&self) {
        let seeds = (self.seeds)();
        assert!(!seeds.is_empty(), "{}", self.name);
        for seed in seeds {
            assert_eq!(self.violation(&seed), None, "{}: {seed:?}", self.name);
        }
    }

    /// Checks the property again for each input that failed before.
    ///
    /// # Panics
    /// When the property fails for one of these inputs.
    pub fn repeat_regressions(&self) {
        let prefix = format!("{}-", self.name);
        for file in std::fs::read_dir(self.regressions)
            .into_iter()
            .flatten()
            .flatten()
        {
            if file.file_name().to_string_lossy().starts_with(&prefix) {
                let input = std::fs::read_to_string(file.path()).expect("the file can be read");
                assert_eq!(self.violation(&input), None, "{:?}: {input:?}", file.path());
            }
        }
    }

    fn mutated(&self, random: &mut Random, seeds: &[String]) -> String {
        let mut text: Vec<char> = seeds[random.below(seeds.len())].chars().collect();
        for _ in 0..=random.below(4) {
            let at = random.below(text.len() + 1);
            let end = (at + random.below(6)).min(text.len());
            match random.below(6) {
                0 => drop(text.drain(at..end)),
                1 => {
                    let copy = text[at..end].to_vec();
                    text.splice(at..at, copy);
                }
                2 => {
                    let other = &seeds[random.below(seeds.len())];
                    let cut = random.below(other.chars().count() + 1);
                    text.truncate(at);
                    text.extend(other.chars().skip(cut));
                }
                3 => {
                    let token = random.pick(self.tokens);
                    text.splice(at..end, token.chars());
                }
                _ => {
                    let token = random.pick(self.tokens);
                    text.splice(at..at, token.chars());
                }
            }
            text.truncate(INPUT_MAX);
        }
        text.into_iter().collect()
    }

    fn violation(&self, input: &str) -> Option<String> {
        match catch_unwind(AssertUnwindSafe(|| (self.property)(input))) {
            Ok(result) => result.err(),
            Err(_) => Some("it panicked".to_owned()),
        }
    }

    /// Removes parts of the input while the property still fails.
    fn smaller(&self, input: &str) -> String {
        let mut best: Vec<char> = input.chars().collect();
        let mut size = best.len();
        while size > 0 {
            let mut at = 0;
            while at < best.len() {
                let mut shorter = best.clone();
                shorter.drain(at..(at + size).min(shorter.len()));
                if self
                    .violation(&shorter.iter().collect::<String>())
                    .is_some()
                {
                    best = shorter;
                } else {
                    at += size;
                }
            }
            size /= 2;
        }
        best.into_iter().collect()
    }
}

fn setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    let number = value.parse();
    Some(number.unwrap_or_else(|_| panic!("{name}={value} is not a number")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(property: Property) -> Target {
        Target {
            name: "test",
            property,
            seeds: || vec!["some words".to_owned()],
            tokens: &["x", "\u{ff}"],
            regressions: "/dev/null/none",
        }
    }

    #[test]
    fn any_bytes_have_an_input() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(bytes(&input(&all)), all);
        assert_eq!(bytes("🦀"), "🦀".as_bytes());
    }

    #[test]
    fn an_input_that_fails_is_made_smaller() {
        let without_x = target(|input| must(!input.contains('x'), "it has an x"));
        let found = catch_unwind(|| without_x.fuzz()).unwrap_err();
        let text = found.downcast_ref::<String>().unwrap();
        assert!(text.contains("it has an x: \"x\"\n"), "{text}");
        without_x.check_seeds();
        assert!(catch_unwind(|| target(|_| panic!("always")).check_seeds()).is_err());
    }
}
