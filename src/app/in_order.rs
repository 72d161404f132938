//! Work on several threads with results in the order of the items.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{Builder, Scope, available_parallelism};

/// The maximum number of threads. They read from one disk and share their caches.
const MOST_THREADS: usize = 8;
/// The stack size of a thread, in bytes: the usual size for a main thread.
const STACK_SIZE: usize = 8 << 20;

/// Calls `work` for each item and passes every result to `take`, on this thread and in the order of the items. At
/// most one thread per processor is started, and no thread for a single item.
pub fn in_order<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync, take: impl FnMut(&T, R)) {
    let processors = available_parallelism().map_or(1, usize::from);
    on_threads(processors.min(MOST_THREADS).min(items.len()), items, work, take);
}

fn on_threads<T: Sync, R: Send>(
    count: usize,
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
    mut take: impl FnMut(&T, R),
) {
    if count < 2 {
        return items.iter().for_each(|item| take(item, work(item)));
    }
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (sender, receiver) = channel();
        let worker = Worker { items, next: &next, work: &work };
        let is_started = |_: &usize| worker.start(scope, sender.clone()).is_ok();
        let started = (0..count).take_while(is_started).count();
        if started == 0 {
            // The system refuses to start a thread.
            worker.run(&sender);
        }
        drop(sender);
        take_all(items, &receiver, take);
    });
}

/// Takes the results in order, and keeps early ones until their turn.
fn take_all<T, R>(items: &[T], receiver: &Receiver<(usize, R)>, mut take: impl FnMut(&T, R)) {
    let mut early = BTreeMap::new();
    let mut items = items.iter().enumerate();
    let mut awaited = items.next();
    for (number, result) in receiver {
        early.insert(number, result);
        while let Some((number, item)) = awaited
            && let Some(result) = early.remove(&number)
        {
            take(item, result);
            awaited = items.next();
        }
    }
}

/// A worker thread.
struct Worker<'a, T, W> {
    items: &'a [T],
    /// The index of the next unclaimed item.
    next: &'a AtomicUsize,
    work: &'a W,
}

impl<T, W> Clone for Worker<'_, T, W> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, W> Copy for Worker<'_, T, W> {}

impl<'a, T: Sync, W: Sync> Worker<'a, T, W> {
    fn start<'scope, R: Send + 'scope>(
        self,
        scope: &'scope Scope<'scope, '_>,
        sender: Sender<(usize, R)>,
    ) -> io::Result<()>
    where
        'a: 'scope,
        W: Fn(&T) -> R,
    {
        Builder::new().stack_size(STACK_SIZE).spawn_scoped(scope, move || self.run(&sender)).map(drop)
    }

    fn run<R>(self, sender: &Sender<(usize, R)>)
    where
        W: Fn(&T) -> R,
    {
        while let Some((number, item)) = self.next_item() {
            if sender.send((number, (self.work)(item))).is_err() {
                return;
            }
        }
    }

    fn next_item(self) -> Option<(usize, &'a T)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        Some((number, self.items.get(number)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn results_come_in_the_order_of_the_items_whichever_is_done_first() {
        let items: Vec<u64> = (0..50).collect();
        let threads = Mutex::new(std::collections::HashSet::new());
        let mut taken = Vec::new();
        let here = thread::current().id();
        let work = |item: &u64| {
            threads.lock().unwrap().insert(thread::current().id());
            thread::sleep(Duration::from_millis(if item.is_multiple_of(7) { 20 } else { 1 }));
            item * 2
        };
        on_threads(4, &items, work, |item, result| {
            assert_eq!((thread::current().id(), result), (here, item * 2));
            taken.push(*item);
        });
        assert_eq!(taken, items);
        let threads = threads.into_inner().unwrap();
        assert!(threads.len() > 1 && !threads.contains(&here));
    }

    #[test]
    fn a_single_item_is_worked_on_here() {
        let here = thread::current().id();
        let mut taken = 0;
        in_order(
            &[()],
            |()| thread::current().id(),
            |(), id| {
                assert_eq!(id, here);
                taken += 1;
            },
        );
        in_order(&[], |()| (), |(), ()| taken += 1);
        assert_eq!(taken, 1);
    }
}
