//! The fuzzers' targets without a fuzzer: the corpus, the vectors, and mutations of both.

#[path = "../fuzz/targets.rs"]
mod targets;

mod support;

use support::vectors::read_vectors;
use support::{mutate, project_root, Random};

fn corpus() -> Vec<Vec<u8>> {
    let mut inputs: Vec<Vec<u8>> = read_vectors().into_iter().map(|vector| vector.bytes).collect();
    for folder in std::fs::read_dir(project_root().join("tests/fuzz/corpus")).unwrap() {
        for file in std::fs::read_dir(folder.unwrap().path()).unwrap() {
            inputs.push(std::fs::read(file.unwrap().path()).unwrap());
        }
    }
    let uris = std::fs::read_to_string(project_root().join("tests/fixtures/uri_cases.txt")).unwrap();
    inputs.extend(uris.lines().map(|line| line.as_bytes().to_vec()));
    assert!(inputs.len() > 200, "the corpus is not there");
    inputs
}

fn run(rounds: usize, mut target: impl FnMut(&[u8])) {
    let mut random = Random::new(23);
    for input in corpus() {
        target(&input);
        let mut changed = input.clone();
        for _ in 0..rounds {
            mutate(&mut changed, &mut random);
            target(&changed);
        }
    }
}

#[test]
fn answers_are_decoded_or_refused() {
    run(300, targets::answers);
}

#[test]
fn uris_are_parsed_or_refused() {
    run(300, targets::uris);
}

#[test]
fn a_session_survives_whatever_a_daemon_answers() {
    let mut went_well = 0;
    run(30, |input| went_well += targets::sessions(input));
    let mut random = Random::new(29);
    for _ in 0..20_000 {
        let length = random.below(400) as usize;
        // Small numbers lead further into a session than large ones.
        let bound = 1 + random.below(256);
        let input: Vec<u8> = (0..length).map(|_| random.below(bound) as u8).collect();
        went_well += targets::sessions(&input);
    }
    assert!(went_well > 10_000, "only {} calls went well: nobody came far", went_well);
}
