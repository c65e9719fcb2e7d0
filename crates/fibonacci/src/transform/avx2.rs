//! Four doubles in AVX2 and FMA instructions, and the proof that the processor has them.

use std::{arch::x86_64::*, mem};

use super::lanes::{Kernel, Lanes};

/// Proof that the processor has AVX2 and FMA: only [`Avx2::detect`] constructs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Avx2(());

impl Avx2 {
    pub(super) fn detect() -> Option<Self> {
        let detected =
            std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma");
        detected.then_some(Self(()))
    }

    /// Runs a kernel that is compiled to AVX2 and FMA instructions.
    #[inline]
    pub(super) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        // SAFETY: `self` proves that the processor has both.
        unsafe { run(kernel) }
    }
}

#[target_feature(enable = "avx2,fma")]
fn run<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<Vector>()
}

/// Private, and named in the function above only, which nothing calls without an [`Avx2`]. So the
/// processor has AVX2 and FMA whenever a method below runs, which is what every SAFETY relies on.
#[derive(Clone, Copy)]
struct Vector(__m256d);

impl Lanes for Vector {
    #[inline(always)]
    fn load(from: &[f64; 4]) -> Self {
        // SAFETY: the array has the 32 bytes that are read, and the processor has AVX2.
        Self(unsafe { _mm256_loadu_pd(from.as_ptr()) })
    }

    #[inline(always)]
    fn store(self, to: &mut [f64; 4]) {
        // SAFETY: the array has the 32 bytes that are written, and the processor has AVX2.
        unsafe { _mm256_storeu_pd(to.as_mut_ptr(), self.0) }
    }

    #[inline(always)]
    unsafe fn stream(self, to: &mut [f64; 4]) {
        assert!(to.as_ptr().cast::<__m256d>().is_aligned());
        // SAFETY: the array has the 32 bytes that are written and is aligned, the processor has
        // AVX2, and the caller promises to call `finish_streams`.
        unsafe { _mm256_stream_pd(to.as_mut_ptr(), self.0) }
    }

    #[inline(always)]
    fn finish_streams() {
        // SAFETY: every x86-64 processor has this instruction.
        unsafe { _mm_sfence() }
    }

    #[inline(always)]
    fn splat(value: f64) -> Self {
        // SAFETY: the processor has AVX2.
        Self(unsafe { _mm256_set1_pd(value) })
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        // SAFETY: the processor has AVX2.
        Self(unsafe { _mm256_add_pd(self.0, other.0) })
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        // SAFETY: the processor has AVX2.
        Self(unsafe { _mm256_sub_pd(self.0, other.0) })
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        // SAFETY: the processor has AVX2.
        Self(unsafe { _mm256_mul_pd(self.0, other.0) })
    }

    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        // SAFETY: the processor has FMA.
        Self(unsafe { _mm256_fmadd_pd(self.0, b.0, c.0) })
    }

    #[inline(always)]
    fn neg_mul_add(self, b: Self, c: Self) -> Self {
        // SAFETY: the processor has FMA.
        Self(unsafe { _mm256_fnmadd_pd(self.0, b.0, c.0) })
    }

    #[inline(always)]
    fn mul_sub(self, b: Self, c: Self) -> Self {
        // SAFETY: the processor has FMA.
        Self(unsafe { _mm256_fmsub_pd(self.0, b.0, c.0) })
    }

    #[inline(always)]
    fn max_abs(self, other: Self) -> Self {
        // SAFETY: the processor has AVX2.
        Self(unsafe {
            let abs = _mm256_andnot_pd(_mm256_set1_pd(-0.0), other.0);
            _mm256_max_pd(self.0, abs)
        })
    }

    #[inline(always)]
    fn transpose([a, b, c, d]: [Self; 4]) -> [Self; 4] {
        // SAFETY: the processor has AVX2.
        unsafe {
            let ab_low = _mm256_unpacklo_pd(a.0, b.0);
            let ab_high = _mm256_unpackhi_pd(a.0, b.0);
            let cd_low = _mm256_unpacklo_pd(c.0, d.0);
            let cd_high = _mm256_unpackhi_pd(c.0, d.0);
            [
                Self(_mm256_permute2f128_pd::<0x20>(ab_low, cd_low)),
                Self(_mm256_permute2f128_pd::<0x20>(ab_high, cd_high)),
                Self(_mm256_permute2f128_pd::<0x31>(ab_low, cd_low)),
                Self(_mm256_permute2f128_pd::<0x31>(ab_high, cd_high)),
            ]
        }
    }

    #[inline(always)]
    fn from_integers(from: [i32; 4]) -> Self {
        // SAFETY: both types are 16 bytes without padding, and the processor has AVX2.
        Self(unsafe { _mm256_cvtepi32_pd(mem::transmute::<[i32; 4], __m128i>(from)) })
    }

    #[inline(always)]
    fn transposed_integers(columns: [Self; 4]) -> [[i32; 4]; 4] {
        // SAFETY: the types are 64 bytes without padding, and the processor has AVX2.
        unsafe {
            let [a, b, c, d] = columns;
            let (a, b) = (_mm256_cvtpd_epi32(a.0), _mm256_cvtpd_epi32(b.0));
            let (c, d) = (_mm256_cvtpd_epi32(c.0), _mm256_cvtpd_epi32(d.0));
            let ab_low = _mm_unpacklo_epi32(a, b);
            let ab_high = _mm_unpackhi_epi32(a, b);
            let cd_low = _mm_unpacklo_epi32(c, d);
            let cd_high = _mm_unpackhi_epi32(c, d);
            mem::transmute::<[__m128i; 4], [[i32; 4]; 4]>([
                _mm_unpacklo_epi64(ab_low, cd_low),
                _mm_unpackhi_epi64(ab_low, cd_low),
                _mm_unpacklo_epi64(ab_high, cd_high),
                _mm_unpackhi_epi64(ab_high, cd_high),
            ])
        }
    }
}
