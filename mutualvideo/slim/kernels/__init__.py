"""Operations that are faster written by hand, or fused, than as torch has them."""
