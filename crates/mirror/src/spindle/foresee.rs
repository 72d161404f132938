//! Foresight: the files that a program asks for next, known from the content of a file that was just read.

use std::fmt::Debug;
use std::fs::File;
use std::sync::Arc;

/// A file that is probably opened next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The directories in search order, as absolute paths. Several wishes share one list.
    pub directories: Arc<[Vec<u8>]>,
    /// The name of the file in the first directory that has it.
    pub name: Vec<u8>,
}

/// Predicts opens. The engine reads the wished files ahead, so a wrong wish costs time but never a wrong answer.
pub trait Foresee: Debug + Send + Sync {
    /// Returns the files that are probably opened after `path`, in order. `content` is its content in the
    /// cache, a file that nobody changes.
    ///
    /// It is called once for each file that was filled, by the thread that filled it. A file without a prediction,
    /// or with damaged content, has no wishes.
    fn after(&self, path: &[u8], content: &File) -> Vec<Wish>;
}
