//! The choice of the instructions that the kernels run on.

#[cfg(target_arch = "x86_64")]
use super::avx2::Avx2;
use super::{lanes::Kernel, portable::Portable};

/// Which instructions the kernels run on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Instructions {
    /// AVX2 and FMA, with the proof that the processor has them.
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    /// The instructions that every processor has.
    Portable,
}

impl Instructions {
    /// The fastest that this processor has.
    pub(crate) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(avx2) = Avx2::detect() {
            return Self::Avx2(avx2);
        }
        Self::Portable
    }

    /// All that this processor has.
    #[cfg(test)]
    pub(crate) fn all() -> Vec<Self> {
        let mut all = vec![Self::Portable, Self::detect()];
        all.dedup();
        all
    }

    /// Runs a kernel on these instructions.
    #[inline]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2(avx2) => avx2.run(kernel),
            Self::Portable => kernel.run::<Portable>(),
        }
    }
}
