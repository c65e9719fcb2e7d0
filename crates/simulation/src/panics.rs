//! Panics in the tasks of a simulation, which its runtime would hide.

use std::{cell::RefCell, panic, sync::Once};

thread_local! {
    static SEEN: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

/// Collects the panics on this thread.
#[derive(Debug)]
pub(crate) struct Watch(());

impl Watch {
    pub(crate) fn start() -> Self {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let usual = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                let is_watched = SEEN.with_borrow_mut(|seen| match seen {
                    Some(seen) => {
                        seen.push(info.to_string());
                        true
                    }
                    None => false,
                });
                if !is_watched {
                    usual(info);
                }
            }));
        });
        SEEN.set(Some(Vec::new()));
        Self(())
    }

    pub(crate) fn end(self) -> Vec<String> {
        SEEN.take().unwrap_or_default()
    }
}
