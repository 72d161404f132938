//! How long something is when it is written, without writing it.

use std::io;

use serde::Serialize;

/// The bytes that a value takes as JSON. Whatever its type holds counts: no field can be forgotten.
pub fn written_size(value: &impl Serialize) -> u64 {
    struct Counter(u64);
    impl io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len() as u64;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    // Nothing in plain data can fail to be written; what could not be would not be in a document either.
    let _ = serde_json::to_writer(&mut counter, value);
    counter.0
}
