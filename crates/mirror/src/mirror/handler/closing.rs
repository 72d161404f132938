//! Closes that are under way. The kernel sends `FUSE_RELEASE` before close(2) returns and does not wait for
//! the reply. So a file may still count as open when another thread handles the next open of it. If another
//! open stands in its way, an open first waits for such closes.

use std::time::Duration;

use crate::mirror::node::{Node, Opens};

/// The number of checks by an open, and the pause between them. A close is handled in microseconds, but on a
/// busy machine its thread may be delayed for longer.
const LOOKS: u32 = 100;
const PAUSE: Duration = Duration::from_micros(200);

/// Waits until the opens of a node are no longer in the way. Returns whether they still are. If so, somebody
/// has the file open, and further opens do not wait until it is closed.
pub(super) fn wait_for_closes(node: &Node, is_in_the_way: impl Fn(&Opens) -> bool) -> bool {
    for _ in 0..LOOKS {
        let (is_held, is_still) = node.with_opens(None, |opens| (opens.held, is_in_the_way(opens)));
        if is_held || !is_still {
            return is_still;
        }
        std::thread::sleep(PAUSE);
    }
    node.with_opens(None, |opens| {
        opens.held = is_in_the_way(opens);
        opens.held
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;
    use crate::mirror::attribute;
    use crate::mirror::handler::registration::count_close;
    use crate::mirror::open_file::Uses;
    use crate::mirror::wire::ROOT;

    const PLAIN: Uses = Uses { executed: false, mappable: false };

    fn node(directory: &std::path::Path) -> Arc<Node> {
        let handle = std::fs::File::open(directory).expect("a directory");
        let stat = attribute::of_file(&handle).expect("attributes");
        Node::root(ROOT, handle.into(), &stat)
    }

    fn is_passed(opens: &Opens) -> bool {
        opens.passed > 0
    }

    #[test]
    fn an_open_waits_for_a_close_that_is_under_way() {
        let directory = tempfile::tempdir().expect("a directory");
        let node = node(directory.path());
        node.with_opens(None, |opens| opens.passed = 1);
        let closing = Arc::clone(&node);
        let close = std::thread::spawn(move || {
            std::thread::sleep(PAUSE * 5);
            closing.with_opens(None, |opens| count_close(opens, true, PLAIN));
        });
        assert!(!wait_for_closes(&node, is_passed));
        assert!(!node.with_opens(None, |opens| is_passed(opens) || opens.held));
        close.join().expect("no panic");
    }

    #[test]
    fn only_the_first_open_waits_while_somebody_has_the_file_open() {
        let directory = tempfile::tempdir().expect("a directory");
        let node = node(directory.path());
        node.with_opens(None, |opens| opens.passed = 2);
        let begun = Instant::now();
        assert!(wait_for_closes(&node, is_passed));
        assert!(begun.elapsed() >= PAUSE * LOOKS);
        assert!(node.with_opens(None, |opens| opens.held));
        node.with_opens(None, |opens| count_close(opens, true, PLAIN));
        assert!(node.with_opens(None, |opens| opens.held), "one of the two is still open");
        node.with_opens(None, |opens| count_close(opens, true, PLAIN));
        assert!(!node.with_opens(None, |opens| opens.held));
    }

    #[test]
    fn the_end_of_a_program_is_a_close_too() {
        let directory = tempfile::tempdir().expect("a directory");
        let node = node(directory.path());
        let program = Uses { executed: true, mappable: false };
        node.with_opens(None, |opens| {
            (opens.served, opens.executed, opens.held) = (2, 1, true);
            count_close(opens, false, PLAIN);
            assert!(opens.held, "it still runs");
            count_close(opens, false, program);
            assert!(!opens.held && opens.executed == 0);
        });
    }
}
