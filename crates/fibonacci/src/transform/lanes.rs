//! Four doubles at a time: with AVX2 and FMA where the processor has them, and without.

/// Four complex numbers, as the kernels work on them.
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

/// Which instructions the kernels are compiled to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instructions {
    /// AVX2 and FMA. Only [`Instructions::best`] makes this one, where the processor has them.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// What every processor has.
    Portable,
}

impl Instructions {
    /// The fastest that this processor has.
    pub(crate) fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        if std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma") {
            return Self::Avx2;
        }
        Self::Portable
    }

    /// Runs a kernel compiled to these instructions.
    #[inline]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `best` has seen that the processor has AVX2 and FMA.
            Self::Avx2 => unsafe { avx2::run(kernel) },
            Self::Portable => kernel.run::<Portable>(),
        }
    }
}

/// Code over [`Lanes`]; `run` and all that it calls must be `#[inline(always)]`, because only what
/// is inlined into [`Instructions::run`] is compiled to its instructions.
pub(crate) trait Kernel {
    type Output;

    fn run<L: Lanes>(self) -> Self::Output;
}

/// Four doubles. A type other than [`Portable`] may be used within [`Kernel::run`] only.
pub(crate) trait Lanes: Copy {
    fn load(from: &[f64; 4]) -> Self;
    fn store(self, to: &mut [f64; 4]);
    /// As `store`, past the caches; no other thread may read it before `finish_streams`.
    fn stream(self, to: &mut [f64; 4]);
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
    fn max_abs(self, other: Self) -> Self;
    fn transpose(rows: [Self; 4]) -> [Self; 4];
    fn from_integers(from: [i32; 4]) -> Self;
    /// Four vectors of whole numbers within 32 bits, as the rows of their transpose.
    fn transposed_integers(columns: [Self; 4]) -> [[i32; 4]; 4];
}

#[derive(Clone, Copy)]
pub(super) struct Portable([f64; 4]);

impl Portable {
    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f64, f64) -> f64) -> Self {
        Self(std::array::from_fn(|i| f(self.0[i], other.0[i])))
    }
}

impl Lanes for Portable {
    #[inline(always)]
    fn load(from: &[f64; 4]) -> Self {
        Self(*from)
    }

    #[inline(always)]
    fn store(self, to: &mut [f64; 4]) {
        *to = self.0;
    }

    #[inline(always)]
    fn stream(self, to: &mut [f64; 4]) {
        self.store(to);
    }

    #[inline(always)]
    fn finish_streams() {}

    #[inline(always)]
    fn splat(value: f64) -> Self {
        Self([value; 4])
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.zip(other, |a, b| a + b)
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.zip(other, |a, b| a - b)
    }

    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.zip(other, |a, b| a * b)
    }

    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        self.mul(b).add(c)
    }

    #[inline(always)]
    fn neg_mul_add(self, b: Self, c: Self) -> Self {
        c.sub(self.mul(b))
    }

    #[inline(always)]
    fn mul_sub(self, b: Self, c: Self) -> Self {
        self.mul(b).sub(c)
    }

    #[inline(always)]
    fn max_abs(self, other: Self) -> Self {
        self.zip(other, |a, b| a.max(b.abs()))
    }

    #[inline(always)]
    fn transpose(rows: [Self; 4]) -> [Self; 4] {
        std::array::from_fn(|i| Self(std::array::from_fn(|j| rows[j].0[i])))
    }

    #[inline(always)]
    fn from_integers(from: [i32; 4]) -> Self {
        Self(from.map(f64::from))
    }

    #[inline(always)]
    #[allow(
        clippy::cast_possible_truncation,
        reason = "the numbers are whole and within 32 bits"
    )]
    fn transposed_integers(columns: [Self; 4]) -> [[i32; 4]; 4] {
        Self::transpose(columns).map(|row| row.0.map(|value| value as i32))
    }
}

#[cfg(target_arch = "x86_64")]
mod avx2 {
    use std::{arch::x86_64::*, mem};

    use super::{Kernel, Lanes};

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn run<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<Avx2>()
    }

    /// Its methods may be called only within `run`, which is what every SAFETY below relies on.
    #[derive(Clone, Copy)]
    struct Avx2(__m256d);

    impl Lanes for Avx2 {
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
        fn stream(self, to: &mut [f64; 4]) {
            assert!(to.as_ptr().cast::<__m256d>().is_aligned());
            // SAFETY: the array has the 32 bytes that are written, it is aligned, and the
            // processor has AVX2. `finish_streams` is called before another thread may read it.
            unsafe { _mm256_stream_pd(to.as_mut_ptr(), self.0) }
        }

        #[inline(always)]
        fn finish_streams() {
            // SAFETY: every x86-64 processor has it.
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
}
