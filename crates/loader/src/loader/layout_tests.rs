//! Segments that only some kernels and loaders map.

use super::*;
use crate::elf::Machine;
use crate::spec::{self, Object, ObjectKind, SegmentRole};

fn platform(machine: Machine, page_size: Option<u64>) -> Platform {
    Platform { machine, isa: None, is_intel: false, kernel: None, page_size, ..Platform::default() }
}

fn segment(role: SegmentRole, flags: &str, address: u64, size: u64, alignment: u64) -> spec::Segment {
    let flags = flags.to_owned();
    spec::Segment { role, flags, offset: address, address, file_size: size, memory_size: size, alignment }
}

/// A library with two segments, changed by the test, as a document describes it.
fn library(machine: &str, change: impl FnOnce(&mut spec::Layout)) -> Facts {
    let mut layout = spec::Layout {
        entry: 0,
        table: 64,
        count: 3,
        segments: vec![
            segment(SegmentRole::Load, "rx", 0, 0x2000, 0x1000),
            segment(SegmentRole::Load, "rw", 0x3000, 0x1000, 0x1000),
            segment(SegmentRole::Dynamic, "rw", 0x3000, 0x100, 8),
        ],
    };
    change(&mut layout);
    let object = Object { layout: Some(layout), ..Object::new("libx.so", ObjectKind::Library, machine, 64) };
    Facts::of_specified(&object).unwrap()
}

fn words(judgement: &Judgement) -> Option<&'static str> {
    match judgement {
        Judgement::Fine => None,
        Judgement::Wrong(objection) | Judgement::Depends(objection, _) => Some(objection.reason),
    }
}

#[test]
fn segments_for_small_pages_are_refused_on_large_ones_and_doubtful_on_unknown_ones() {
    let facts = library("aarch64", |layout| layout.segments[1].offset = 0x4000);
    let judged = |page_size| of_glibc(&facts, false, &platform(Machine::AARCH64, page_size));
    assert_eq!(judged(Some(4096)), Judgement::Fine);
    let refused = Objection::refused("ELF load command address/offset not page-aligned");
    assert_eq!(judged(Some(65536)), Judgement::Wrong(refused));
    assert_eq!(judged(None), Judgement::Depends(refused, 16384));
    let problem = judged(None).problem("libx.so").unwrap();
    assert_eq!(problem.effect(), crate::loader::Effect::Undecided);
    assert!(!is_usual(&facts), "a document must say it");
}

#[test]
fn a_loader_before_2_35_wants_the_alignment_that_is_stated() {
    let facts = library("x86_64", |layout| layout.segments[0].alignment = 0x200);
    let judged = |is_old| of_glibc(&facts, is_old, &platform(Machine::X86_64, None));
    assert_eq!(words(&judged(true)), Some("ELF load command alignment not page-aligned"));
    assert_eq!(judged(false), Judgement::Fine);
    assert!(!is_usual(&facts));
    assert!(is_usual(&library("x86_64", |_| {})));
    assert!(!is_usual(&library("aarch64", |_| {})), "4 KiB segments share a page of 64 KiB");
}

#[test]
fn what_the_kernel_does_not_map_is_refused() {
    type Change = fn(&mut spec::Layout);
    let changes: [(Change, &str); 5] = [
        (
            |layout| layout.segments[0].address = 8,
            "the address and the file offset of a segment differ within a page",
        ),
        (|layout| layout.segments[1].memory_size = 1, "a segment is longer in the file than in memory"),
        (|layout| layout.segments[1].address = 1 << 63, "a segment is outside the address space"),
        (|layout| layout.segments.retain(|s| s.role != SegmentRole::Load), "it has no loadable segment"),
        (|layout| layout.count = 2000, "Exec format error"),
    ];
    for (change, reason) in changes {
        let facts = library("x86_64", change);
        assert_eq!(words(&of_kernel(&facts, &platform(Machine::X86_64, None))), Some(reason));
    }
    assert_eq!(of_kernel(&library("x86_64", |_| {}), &platform(Machine::X86_64, None)), Judgement::Fine);
}

#[test]
fn segments_go_into_a_document_and_back() {
    let facts = library("x86_64", |layout| layout.segments[1].alignment = 3);
    let layout = facts.layout.clone().unwrap();
    let stated = crate::loader::specify_layout(&layout);
    assert_eq!(crate::loader::specified::specified_layout(&stated), layout);
}
