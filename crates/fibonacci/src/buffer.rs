//! Zeroed memory for the large arrays: aligned to a cache line, on huge pages where there are any.
#![allow(
    unsafe_code,
    reason = "the standard library has no zeroed allocation with an alignment that leaves the \
              pages untouched"
)]

use std::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
    fmt,
    hint::black_box,
    ops::{Deref, DerefMut},
    ptr::NonNull,
    sync::{Mutex, PoisonError},
};

use crate::{Error, crew::Crew};

const CACHE_LINE_BYTES: usize = 64;
const PAGE_BYTES: usize = 4 << 10;
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// A type of which all bits zero is a value, without anything to drop.
///
/// # Safety
///
/// Both must be true, and the alignment at most [`CACHE_LINE_BYTES`].
pub(crate) unsafe trait Zero: Copy + Send + Sync {
    /// The value whose bits are all zero.
    const ZERO: Self;
}

// SAFETY: an integer.
unsafe impl Zero for i32 {
    const ZERO: Self = 0;
}

/// An array whose length is fixed when it is made.
pub(crate) struct Buffer<T: Zero> {
    allocation: NonNull<u8>,
    layout: Layout,
    start: NonNull<T>,
    len: usize,
}

// SAFETY: it owns its memory, as a `Vec<T>` does.
unsafe impl<T: Zero> Send for Buffer<T> {}
// SAFETY: as above.
unsafe impl<T: Zero> Sync for Buffer<T> {}

impl<T: Zero> Buffer<T> {
    pub(crate) fn zeroed(len: usize) -> Self {
        let bytes = len.max(1) * size_of::<T>();
        let align = if bytes < HUGE_PAGE_BYTES {
            CACHE_LINE_BYTES
        } else {
            HUGE_PAGE_BYTES
        };
        // An alignment that `calloc` has of itself, since for any other the memory would be
        // written; the start is aligned by hand.
        let layout = Layout::array::<u128>((bytes + align) / 16 + 1)
            .unwrap_or_else(|_| panic!("{bytes} bytes are more than an address can tell"));
        // SAFETY: the layout is not empty.
        let Some(allocation) = NonNull::new(unsafe { alloc_zeroed(layout) }) else {
            handle_alloc_error(layout)
        };
        // SAFETY: the offset is below `align`, and that much was allocated beside the bytes.
        let start = unsafe { allocation.add(allocation.align_offset(align)) };
        #[cfg(target_os = "linux")]
        if align == HUGE_PAGE_BYTES {
            // SAFETY: the range lies in the allocation; the advice does not change its contents.
            // That it was not taken has no consequence but time.
            unsafe { libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE) };
        }
        Self {
            allocation,
            layout,
            start: start.cast(),
            len,
        }
    }

    /// The cost of [`Buffer::touch`] for so many elements.
    pub(crate) fn touch_cost(len: usize) -> u64 {
        match len * size_of::<T>() {
            0..HUGE_PAGE_BYTES => 0,
            bytes => bytes as u64 / 3,
        }
    }

    /// Writes to every page, by all threads and with progress.
    ///
    /// The kernel zeroes a page when it is first written to. Columns reach every page of an array
    /// at once, and would wait for all of them.
    pub(crate) fn touch(&mut self, crew: &mut Crew<'_>) -> Result<(), Error> {
        let (cost, len) = (Self::touch_cost(self.len), self.len as u64);
        if cost == 0 {
            return Ok(());
        }
        let jobs: Vec<_> = self
            .chunks_mut(HUGE_PAGE_BYTES / size_of::<T>())
            .map(Mutex::new)
            .collect();
        crew.share(jobs.len(), |job, worker| {
            let mut part = jobs[job].lock().unwrap_or_else(PoisonError::into_inner);
            for page in part.chunks_mut(PAGE_BYTES / size_of::<T>()) {
                page[0] = black_box(T::ZERO);
            }
            worker.done(cost * part.len() as u64 / len);
        })
    }

    /// Access for several threads, each to other elements.
    pub(crate) fn shared(&mut self) -> Shared<'_, T> {
        Shared { array: self }
    }
}

impl<T: Zero> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `len` elements from `start` lie in the allocation, aligned and with values.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Zero> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and nobody else has access.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T: Zero> Drop for Buffer<T> {
    fn drop(&mut self) {
        // SAFETY: allocated in `zeroed` with this layout.
        unsafe { dealloc(self.allocation.as_ptr(), self.layout) }
    }
}

impl<T: Zero> Clone for Buffer<T> {
    fn clone(&self) -> Self {
        let mut copy = Self::zeroed(self.len);
        copy.copy_from_slice(self);
        copy
    }
}

impl<T: Zero + fmt::Debug> fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// A buffer of which several threads write parts of their own.
pub(crate) struct Shared<'a, T: Zero> {
    array: &'a Buffer<T>,
}

// SAFETY: it gives out parts only through `part`, whose caller answers for their being disjoint.
unsafe impl<T: Zero> Sync for Shared<'_, T> {}

impl<T: Zero> Shared<'_, T> {
    /// `len` elements from `start` on.
    ///
    /// # Safety
    ///
    /// While it lives, no other part with any of these elements may be asked for.
    #[inline(always)]
    #[allow(
        clippy::mut_from_ref,
        reason = "the buffer is borrowed mutably for as long as `self` lives"
    )]
    pub(crate) unsafe fn part(&self, start: usize, len: usize) -> &mut [T] {
        assert!(start <= self.array.len && len <= self.array.len - start);
        // SAFETY: in bounds, and disjoint from every other part as the caller promises.
        unsafe { std::slice::from_raw_parts_mut(self.array.start.as_ptr().add(start), len) }
    }
}
