"""Operations on boxes: overlaps and non-maximum suppression."""
