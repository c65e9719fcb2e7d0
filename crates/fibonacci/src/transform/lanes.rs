//! The values that the kernels compute with: vectors of four doubles. Which instructions implement them is the
//! business of `instructions`.

/// Four complex numbers in memory: one cache line.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Group {
    pub(crate) re: [f64; 4],
    pub(crate) im: [f64; 4],
}

impl Group {
    pub(super) const ZERO: Self = Self {
        re: [0.0; 4],
        im: [0.0; 4],
    };
}

/// An algorithm that is written over [`Lanes`], and compiled for each implementation of them.
///
/// `run` and everything that it calls must be `#[inline(always)]`: only what is inlined into the
/// function that enables the vector instructions is compiled to them.
pub(crate) trait Kernel {
    type Output;

    fn run<L: Lanes>(self) -> Self::Output;
}

/// Four doubles, with the operations that the kernels need.
pub(crate) trait Lanes: Copy {
    fn load(from: &[f64; 4]) -> Self;
    fn store(self, to: &mut [f64; 4]);
    /// Like `store`, but bypasses the caches.
    ///
    /// # Safety
    ///
    /// Before another thread accesses the array, this thread must call `finish_streams`.
    unsafe fn stream(self, to: &mut [f64; 4]);
    /// Makes earlier calls of `stream` visible to other threads.
    fn finish_streams();
    fn splat(value: f64) -> Self;
    fn add(self, other: Self) -> Self;
    fn sub(self, other: Self) -> Self;
    fn mul(self, other: Self) -> Self;
    /// self * b + c
    fn mul_add(self, b: Self, c: Self) -> Self;
    /// c - self * b
    fn neg_mul_add(self, b: Self, c: Self) -> Self;
    /// self * b - c
    fn mul_sub(self, b: Self, c: Self) -> Self;
    /// The larger of self and |other|, lane by lane.
    fn max_abs(self, other: Self) -> Self;
    fn transpose(rows: [Self; 4]) -> [Self; 4];
    fn from_integers(from: [i32; 4]) -> Self;
    /// Converts whole numbers, which must fit into 32 bits, and transposes them.
    fn transposed_integers(columns: [Self; 4]) -> [[i32; 4]; 4];
}
