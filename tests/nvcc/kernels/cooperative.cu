// Cooperative groups: tiles of a warp, coalesced threads, the whole grid, clusters with distributed shared memory.
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
#include <cooperative_groups/scan.h>

namespace cg = cooperative_groups;

// Sum of `n` floats: tiles of 32 reduce, one atomic for each block.
extern "C" __global__ void sum_by_tiles(const float *x, float *out, int n) {
    cg::thread_block block = cg::this_thread_block();
    cg::thread_block_tile<32> tile = cg::tiled_partition<32>(block);
    __shared__ float parts[32];
    float v = 0.0f;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) v += x[i];
    v = cg::reduce(tile, v, cg::plus<float>());
    if (tile.thread_rank() == 0) parts[tile.meta_group_rank()] = v;
    block.sync();
    if (tile.meta_group_rank() == 0) {
        v = tile.thread_rank() < tile.meta_group_size() ? parts[tile.thread_rank()] : 0.0f;
        v = cg::reduce(tile, v, cg::plus<float>());
        if (tile.thread_rank() == 0) atomicAdd(out, v);
    }
}

// Keeps the positive numbers of `x`: threads that found one share one atomic.
extern "C" __global__ void count_and_filter(const int *x, int *kept, int *count, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n && x[i] > 0) {
        cg::coalesced_group active = cg::coalesced_threads();
        int base = 0;
        if (active.thread_rank() == 0) base = atomicAdd(count, (int)active.size());
        base = active.shfl(base, 0);
        kept[base + active.thread_rank()] = x[i];
    }
}

// Tiles of 8: inclusive and exclusive scans, integer reductions, votes and shuffles inside a tile.
extern "C" __global__ void small_tiles(const int *x, int *inclusive, int *exclusive, int *most, unsigned *votes) {
    cg::thread_block_tile<8> tile = cg::tiled_partition<8>(cg::this_thread_block());
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    int v = x[i];
    inclusive[i] = cg::inclusive_scan(tile, v);
    exclusive[i] = cg::exclusive_scan(tile, v);
    most[i] = cg::reduce(tile, v, cg::greater<int>()) + tile.shfl_xor(v, 1) + tile.shfl_down(v, 2);
    votes[i] = tile.ballot(v > 0) | (tile.any(v > 90) << 8) | (tile.all(v > -90) << 9) | (tile.match_any(v & 3) << 16);
}

// Histogram over the shared memory of a cluster: each block owns a part of the bins.
extern "C" __global__ void __cluster_dims__(2, 1, 1) cluster_histogram(const int *x, int *bins, int n, int bins_per_block) {
    extern __shared__ int mine[];
    cg::cluster_group cluster = cg::this_cluster();
    for (int i = threadIdx.x; i < bins_per_block; i += blockDim.x) mine[i] = 0;
    cluster.sync();
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
        int bin = x[i];
        int *owner = cluster.map_shared_rank(mine, bin / bins_per_block);
        atomicAdd(owner + bin % bins_per_block, 1);
    }
    cluster.sync();
    int *out = bins + cluster.block_rank() * bins_per_block;
    for (int i = threadIdx.x; i < bins_per_block; i += blockDim.x) atomicAdd(&out[i], mine[i]);
}

// Two phases with a barrier over the whole grid between them. `barrier` stands for the workspace of grid.sync().
extern "C" __global__ void grid_phases(const float *x, float *parts, float *out, unsigned *barrier, int n) {
    __shared__ float sums[128];
    sums[threadIdx.x] = 0.0f;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) sums[threadIdx.x] += x[i];
    __syncthreads();
    for (int half = blockDim.x / 2; half > 0; half /= 2) {
        if (threadIdx.x < half) sums[threadIdx.x] += sums[threadIdx.x + half];
        __syncthreads();
    }
    if (threadIdx.x == 0) {
        parts[blockIdx.x] = sums[0];
        __threadfence();
        atomicAdd(barrier, 1);
        while (*(volatile unsigned *)barrier < gridDim.x) {
        }
        __threadfence();
    }
    __syncthreads();
    float total = 0.0f;
    for (int b = 0; b < gridDim.x; b++) total += parts[b];
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = x[i] / total;
}
