//! Properties that an object inherits from the objects that loaded it.

use crate::loader::LoadedObject;

/// Returns, for each object, its own value or that of the nearest object that loaded it, directly or
/// indirectly.
pub(super) fn nearest<T: Copy>(
    objects: &[LoadedObject],
    own: impl Fn(&LoadedObject) -> Option<T>,
) -> Vec<Option<T>> {
    of_each(objects.len(), |object| objects[object].loaded_by, |object| own(&objects[object]))
}

fn of_each<T: Copy>(
    count: usize,
    above: impl Fn(usize) -> Option<usize>,
    own: impl Fn(usize) -> Option<T>,
) -> Vec<Option<T>> {
    let mut known: Vec<Option<Option<T>>> = vec![None; count];
    let mut way = Vec::new();
    for object in 0..count {
        let (mut next, mut found) = (Some(object), None);
        while let Some(object) = next {
            if let Some(value) = known[object] {
                found = value;
                break;
            }
            way.push(object);
            found = own(object);
            next = above(object).filter(|_| found.is_none());
        }
        way.drain(..).for_each(|object| known[object] = Some(found));
    }
    known.into_iter().map(Option::flatten).collect()
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn each_object_of_a_chain_is_asked_once_whichever_end_comes_first() {
        const COUNT: usize = 1000;
        let down = |object: usize| object.checked_sub(1);
        let up = |object: usize| Some(object + 1).filter(|above| *above < COUNT);
        let asked = Cell::new(0);
        let own = |object: usize| {
            asked.set(asked.get() + 1);
            [10, 500].contains(&object).then_some(object)
        };
        let expected = |object: usize| match object {
            0..10 => None,
            10..500 => Some(10),
            _ => Some(500),
        };
        assert_eq!(of_each(COUNT, down, own), (0..COUNT).map(expected).collect::<Vec<_>>());
        assert_eq!(asked.replace(0), COUNT);
        let expected = |object: usize| match object {
            0..=10 => Some(10),
            11..=500 => Some(500),
            _ => None,
        };
        assert_eq!(of_each(COUNT, up, own), (0..COUNT).map(expected).collect::<Vec<_>>());
        assert_eq!(asked.get(), COUNT);
    }
}
