//! A set of runs, with one bit for each.

/// A set of runs by their positions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RunSet {
    words: Vec<u64>,
}

impl RunSet {
    /// Adds a run.
    pub(crate) fn insert(&mut self, run: usize) {
        let word = run / 64;
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << (run % 64);
    }

    /// Adds the runs of another set.
    pub(crate) fn extend(&mut self, other: &Self) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        self.words.iter_mut().zip(&other.words).for_each(|(own, other)| *own |= other);
    }

    /// The number of runs in the set.
    pub(crate) fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_counts_once_in_a_union() {
        let set = |runs: &[usize]| {
            let mut set = RunSet::default();
            runs.iter().for_each(|run| set.insert(*run));
            set
        };
        let mut all = set(&[1, 1, 64]);
        assert_eq!(all.len(), 2);
        all.extend(&set(&[0, 1, 200]));
        assert_eq!((all.len(), &all), (4, &set(&[0, 1, 64, 200])));
        all.extend(&set(&[2]));
        assert_eq!(all.len(), 5);
    }
}
