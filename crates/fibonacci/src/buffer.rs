//! Zeroed memory for the large arrays, aligned to cache lines and on huge pages where the system has
//! them. Unlike a vector, it does not grow.
#![allow(
    unsafe_code,
    reason = "the standard library cannot allocate zeroed memory with a larger alignment without \
              writing to every page"
)]

use std::{
    alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error},
    fmt,
    hint::black_box,
    ops::{Deref, DerefMut},
    ptr::NonNull,
};

use crate::{error::Error, executor::Executor};

const CACHE_LINE_BYTES: usize = 64;
const PAGE_BYTES: usize = 4 << 10;
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// A type whose value may have all bits zero.
///
/// # Safety
///
/// A value whose bits are all zero must be valid, and the alignment must be at most
/// [`CACHE_LINE_BYTES`].
pub(crate) unsafe trait Zero: Copy + Send + Sync {
    /// The value whose bits are all zero.
    const ZERO: Self;
}

// SAFETY: the integer 0 is valid, and its alignment is 4 bytes.
unsafe impl Zero for i32 {
    const ZERO: Self = 0;
}

/// An array whose length is fixed at its creation.
pub(crate) struct Buffer<T: Zero> {
    allocation: NonNull<u8>,
    layout: Layout,
    start: NonNull<T>,
    len: usize,
}

// SAFETY: a buffer owns its memory, as a `Vec<T>` does.
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
        // For an alignment larger than that of `u128`, the allocator would write the zeros itself and
        // thereby touch every page. So ask for up to `align` bytes more, and align the start here.
        let layout = Layout::array::<u128>((bytes + align) / 16 + 1)
            .unwrap_or_else(|_| panic!("{bytes} bytes are more than the address space has"));
        // SAFETY: the layout's size is not zero.
        let Some(allocation) = NonNull::new(unsafe { alloc_zeroed(layout) }) else {
            handle_alloc_error(layout)
        };
        // SAFETY: the offset is below `align`, and the allocation has `align` bytes more than `bytes`.
        let start = unsafe { allocation.add(allocation.align_offset(align)) };
        #[cfg(target_os = "linux")]
        if align == HUGE_PAGE_BYTES {
            // SAFETY: the range lies in the allocation, and the advice does not change its contents.
            // If the kernel does not take the advice, the computation is only slower.
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

    /// Writes to every page, on all threads and with progress.
    ///
    /// The kernel zeroes a page when it is first written to. A few columns of an array already
    /// touch each of its pages, so without this the first of them would wait for the whole array.
    pub(crate) fn touch(&mut self, executor: &mut Executor<'_, '_>) -> Result<(), Error> {
        let (cost, len) = (Self::touch_cost(self.len), self.len as u64);
        if cost == 0 {
            return Ok(());
        }
        let huge_pages = self.chunks_mut(HUGE_PAGE_BYTES / size_of::<T>()).collect();
        executor.for_each(huge_pages, |huge_page, progress| {
            for page in huge_page.chunks_mut(PAGE_BYTES / size_of::<T>()) {
                page[0] = black_box(T::ZERO);
            }
            progress.add(cost * huge_page.len() as u64 / len);
        })
    }

    /// Access for several threads, each to other elements.
    pub(crate) fn disjoint(&mut self) -> Disjoint<'_, T> {
        Disjoint { buffer: self }
    }
}

impl<T: Zero> Deref for Buffer<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        // SAFETY: `len` elements from `start` on lie in the allocation, aligned and initialized.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl<T: Zero> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`, and `&mut self` excludes every other access.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl<T: Zero> Drop for Buffer<T> {
    fn drop(&mut self) {
        // SAFETY: `zeroed` allocated it with this layout.
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

/// A buffer that several threads write at the same time, each to parts of its own.
pub(crate) struct Disjoint<'a, T: Zero> {
    buffer: &'a mut Buffer<T>,
}

// SAFETY: elements are reached through `part` only, whose callers promise that parts are disjoint.
unsafe impl<T: Zero> Sync for Disjoint<'_, T> {}

impl<T: Zero> Disjoint<'_, T> {
    /// `len` elements from `start` on.
    ///
    /// # Safety
    ///
    /// As long as the part is in use, no other part may have any of its elements.
    #[inline(always)]
    #[allow(
        clippy::mut_from_ref,
        reason = "the buffer is borrowed mutably for as long as `self` lives"
    )]
    pub(crate) unsafe fn part(&self, start: usize, len: usize) -> &mut [T] {
        assert!(start <= self.buffer.len && len <= self.buffer.len - start);
        // SAFETY: the part is in bounds, and the caller promises that it overlaps no other.
        unsafe { std::slice::from_raw_parts_mut(self.buffer.start.as_ptr().add(start), len) }
    }
}
