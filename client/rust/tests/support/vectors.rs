//! Reads proto/test_vectors.txt, whose first lines say how.

use super::project_root;

#[derive(Debug, Default)]
pub struct Vector {
    pub name: String,
    pub bytes: Vec<u8>,
    /// `is request`, `is answer`, `is error`, `is notice`, `refused answer`, `refused goodbye` or `refused client`.
    pub kind: String,
    /// Of `is ...`.
    pub operation: String,
    /// Of `refused answer` and `refused goodbye`.
    pub status: String,
    pub before_hello: bool,
    pub values: Vec<(String, String)>,
}

pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    let pairs = digits.chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    pairs.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

pub fn read_vectors() -> Vec<Vector> {
    let text = std::fs::read_to_string(project_root().join("proto/test_vectors.txt")).unwrap();
    let mut vectors: Vec<Vector> = Vec::new();
    for line in text.lines() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if word.is_empty() || word.starts_with('#') {
            continue;
        }
        if word == "vector" {
            vectors.push(Vector { name: rest.to_owned(), ..Vector::default() });
            continue;
        }
        let vector = vectors.last_mut().expect("a line before the first vector");
        let (first, second) = rest.split_once(' ').unwrap_or((rest, ""));
        match word {
            "hex" => vector.bytes.extend(hex(rest.split('#').next().unwrap())),
            "is" => {
                vector.kind = format!("is {}", first);
                vector.operation = second.to_owned();
            }
            "refused" => {
                vector.kind = format!("refused {}", first);
                vector.status = second.to_owned();
            }
            "when" => vector.before_hello = rest == "before_hello",
            "value" => vector.values.push((first.to_owned(), second.to_owned())),
            other => panic!("{}: unknown line {}", vector.name, other),
        }
    }
    vectors
}
