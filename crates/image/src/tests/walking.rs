//! Path resolution in a tree matches the kernel.

use super::{Tar, at, tree};
use crate::{Node, Tree};
use compat_loader::host::WalkError;

fn sample() -> Tree {
    let layer = Tar::new()
        .file("etc/inside", "#!x")
        .link("absolute", "/etc/inside")
        .link("climbing", "../../../../etc/inside")
        .link("etc/top", "/")
        .link("directory", "etc/")
        .link("broken", "nowhere")
        .link("a", "b")
        .link("b", "a")
        .entry(b"dev/null", tar::EntryType::Char, b"", b"");
    tree(&[layer.end()]).unwrap()
}

fn resolved(tree: &Tree, path: &str) -> String {
    match tree.resolve(at(path)) {
        Ok((path, _)) => path.display().to_string(),
        Err(error) => error.to_string(),
    }
}

#[test]
fn links_and_parents_never_lead_out_of_the_root() {
    let tree = sample();
    for path in [
        "/absolute",
        "climbing",
        "/etc/top/etc/top/absolute",
        "/../../etc/inside",
        "/directory/inside",
        "//etc/./inside",
    ] {
        assert_eq!(resolved(&tree, path), "/etc/inside", "{path}");
    }
    for path in ["/", "/..", "/etc/top", "/etc/top/..", "/etc/.."] {
        assert_eq!(resolved(&tree, path), "/", "{path}");
    }
    assert_eq!(resolved(&tree, "/directory"), "/etc");
}

#[test]
fn errors_are_the_kernels() {
    let tree = sample();
    assert_eq!(resolved(&tree, "/a"), "Too many levels of symbolic links");
    assert_eq!(resolved(&tree, "/broken"), "No such file or directory");
    assert_eq!(resolved(&tree, ""), "No such file or directory");
    for path in ["/etc/inside/x", "/etc/inside/..", "/etc/inside/", "/absolute/", "/etc/inside/."] {
        assert_eq!(resolved(&tree, path), "Not a directory", "{path}");
    }
    for path in ["/etc", "/dev/null", "/"] {
        assert!(matches!(tree.file(at(path)), Err(WalkError::NotRegular)), "{path}");
    }
    assert_eq!(resolved(&tree, &format!("/{}", "x/".repeat(4096))), "File name too long");
    assert_eq!(resolved(&tree, &format!("/{}", "x".repeat(256))), "File name too long");
    assert_eq!(resolved(&tree, &format!("/{}", "x".repeat(255))), "No such file or directory");
}

#[test]
fn forty_links_are_followed_and_no_more() {
    let chain = |length: usize| {
        let mut layer = Tar::new().file("0", "#!x");
        for number in 1..=length {
            layer = layer.link(&number.to_string(), &(number - 1).to_string());
        }
        tree(&[layer.end()]).unwrap()
    };
    assert_eq!(resolved(&chain(41), "/40"), "/0");
    assert_eq!(resolved(&chain(41), "/41"), "Too many levels of symbolic links");
}

#[test]
fn a_link_at_the_end_can_be_left_alone() {
    let tree = sample();
    let (path, node) = tree.resolve_parent(at("/etc/top/absolute")).unwrap();
    assert!(path == at("/absolute") && matches!(node, Node::Link(_)));
    assert_eq!(tree.names(at("/directory")), ["inside", "top"]);
    let links: Vec<String> =
        tree.links_below(at("/directory")).map(|(path, _)| path.display().to_string()).collect();
    assert_eq!(links, ["/etc/top"]);
}
