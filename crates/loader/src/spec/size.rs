//! The length of a value in JSON, without writing it.

use std::io;

use serde::Serialize;

/// Returns the number of bytes of a value in JSON. All fields count, so a new field cannot be forgotten.
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
    // Plain data can always be written.
    let _ = serde_json::to_writer(&mut counter, value);
    counter.0
}
