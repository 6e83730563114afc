package decode

// Nearest is the one of the candidates that word was probably meant to be, or "" where none is near: at most two letters
// in a longer word, or one in a short one, are wrong, missing, too many or swapped with their neighbour. Of several as
// near, the first counts.
func Nearest(word string, candidates []string) string {
	allowed := 2
	if len(word) <= 4 {
		allowed = 1
	}
	best, near := "", allowed+1
	for _, c := range candidates {
		if d := distance([]rune(word), []rune(c), allowed); d < near {
			best, near = c, d
		}
	}
	return best
}

// distance counts the edits between a and b; where it is above limit, any number above limit may be returned.
func distance(a, b []rune, limit int) int {
	if len(a)-len(b) > limit || len(b)-len(a) > limit {
		return limit + 1
	}
	before, above := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range above {
		above[j] = j
	}
	for i := range a {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range b {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(above[j]+cost, above[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, above = above, row
	}
	return above[len(b)]
}
