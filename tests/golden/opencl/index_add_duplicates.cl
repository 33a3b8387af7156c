// Sizes. Everything below follows from them.
#define ROWS    512
#define COLS    4096
#define SOURCES 4096
// Parameters of this variant.
#define THREADS 512

__kernel __attribute__((reqd_work_group_size(THREADS, 1, 1)))
void index_add_duplicates_kernel(__global const float* restrict x,
                                 __global const long* restrict index,
                                 __global const float* restrict values,
                                 __global float* restrict y) {
  const int row_index = get_group_id(0) * THREADS + get_local_id(0);
  if (row_index >= ROWS * COLS) return;
  const int row = row_index / COLS;
  const int col = row_index % COLS;

  float total = 0.0f;
  // Sums of 64 terms are summed: one sequential sum of many would lose digits.
  float recent = 0.0f;
  int held = 0;
  for (int source = 0; source < SOURCES; ++source) {
    recent += index[source] == row ? values[source * COLS + col] : 0.0f;
    if (++held % 64 == 0) {
      total += recent;
      recent = 0.0f;
    }
  }
  total += recent;

  y[row_index] = x[row_index] + total;
}
