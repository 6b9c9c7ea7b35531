// Checks the native kernel against its definition without Python: for sanitisers, and for processors that are emulated.
// Prints the variant and the largest error relative to the sum of sizes; exits with 1 where it is above 1e-5.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "problem.h"

using viscnn::Problem;

extern "C" {
const char *viscnn_variant(int number);
int viscnn_lanes(int variant);
int viscnn_choose_method(const Problem *problem, int variant);
void viscnn_pack_weight(const Problem *problem, int variant, float *packed);
int viscnn_edge_products(const Problem *problem, int variant);
void viscnn_map_products(int variant, int threads, const float *maps, const float *gradients, int64_t count,
                         int64_t positions, float *absolute, float *sum);
}

namespace {

struct Case {
    int images, groups, inputs, filters, height, width, kernel_height, kernel_width, stride, dilation, pad;
    double density;
};

std::mt19937 randomness(0);

std::vector<float> normal(size_t count, double density = 1) {
    std::normal_distribution<float> value;
    std::uniform_real_distribution<double> chance;
    std::vector<float> found(count);
    for (float &each : found) each = chance(randomness) < density ? value(randomness) : 0.f;
    return found;
}

struct Expected {
    std::vector<double> absolute, sum, map_absolute;
};

// The definition, position by position.
Expected literal(const Problem &p) {
    const size_t size = (size_t)p.groups * p.filters * p.inputs;
    Expected found = {std::vector<double>(size), std::vector<double>(size), std::vector<double>(size)};
    for (int k = 0; k < p.images; k++)
        for (int o = 0; o < p.groups * p.filters; o++)
            for (int i = 0; i < p.inputs; i++) {
                const int channel = o / p.filters * p.inputs + i;
                const float *map = p.x + ((size_t)k * p.groups * p.inputs + channel) * p.height * p.width;
                const float *kernel = p.weight + ((size_t)o * p.inputs + i) * p.kernel_height * p.kernel_width;
                double size_sum = 0, sum = 0;
                for (int r = 0; r < p.rows; r++)
                    for (int c = 0; c < p.columns; c++) {
                        double edge = 0;
                        for (int a = 0; a < p.kernel_height; a++)
                            for (int b = 0; b < p.kernel_width; b++) {
                                const int y = r * p.stride_y + a * p.dilation_y - p.pad_top;
                                const int x = c * p.stride_x + b * p.dilation_x - p.pad_left;
                                if (y < 0 || x < 0 || y >= p.height || x >= p.width) continue;
                                edge += (double)kernel[a * p.kernel_width + b] * map[y * p.width + x];
                            }
                        const double product = edge * p.gradient[k * p.gradient_image + o * p.gradient_filter +
                                                                 r * p.gradient_row + c * p.gradient_column];
                        size_sum += std::fabs(product);
                        sum += product;
                    }
                const size_t at = (size_t)o * p.inputs + i;
                found.absolute[at] += size_sum;
                found.sum[at] += sum;
                found.map_absolute[at] += std::fabs(sum);
            }
    return found;
}

double largest_error(const std::vector<float> &got, const std::vector<double> &want, const std::vector<double> &sizes) {
    double largest = 0;
    for (size_t i = 0; i < got.size(); i++)
        largest = std::fmax(largest, std::fabs(got[i] - want[i]) / std::fmax(sizes[i], 1e-30));
    return largest;
}

double check(const Case &of, int variant, int threads) {
    const int rows = (of.height + 2 * of.pad - of.dilation * (of.kernel_height - 1) - 1) / of.stride + 1;
    const int columns = (of.width + 2 * of.pad - of.dilation * (of.kernel_width - 1) - 1) / of.stride + 1;
    const int outputs = of.groups * of.filters;
    const size_t results = (size_t)outputs * of.inputs;
    const int lanes = viscnn_lanes(variant), entries = of.kernel_height * of.kernel_width;
    const auto x = normal((size_t)of.images * of.groups * of.inputs * of.height * of.width);
    const auto weight = normal(results * entries);
    const auto gradient = normal((size_t)of.images * outputs * rows * columns, of.density);
    std::vector<float> absolute(results), sum(results), map_absolute(results);
    Problem p = {};
    p.x = x.data(), p.weight = weight.data(), p.gradient = gradient.data();
    p.absolute = absolute.data(), p.sum = sum.data(), p.map_absolute = map_absolute.data();
    p.gradient_image = (int64_t)outputs * rows * columns, p.gradient_filter = (int64_t)rows * columns;
    p.gradient_row = columns, p.gradient_column = 1;
    p.images = of.images, p.groups = of.groups, p.inputs = of.inputs, p.filters = of.filters;
    p.height = of.height, p.width = of.width, p.rows = rows, p.columns = columns;
    p.kernel_height = of.kernel_height, p.kernel_width = of.kernel_width;
    p.stride_y = p.stride_x = of.stride, p.dilation_y = p.dilation_x = of.dilation;
    p.pad_left = p.pad_right = p.pad_top = p.pad_bottom = of.pad;
    p.threads = threads;
    p.method = viscnn_choose_method(&p, variant);
    const size_t floats = (size_t)of.groups * of.filters * ((of.inputs + lanes - 1) / lanes * lanes) * entries + 16;
    void *packed = nullptr;
    if (posix_memalign(&packed, 64, floats * sizeof(float))) return INFINITY;
    viscnn_pack_weight(&p, variant, (float *)packed);
    p.packed_weight = (const float *)packed;
    const bool failed = viscnn_edge_products(&p, variant);
    free(packed);
    const Expected want = literal(p);
    if (failed) return INFINITY;
    return std::fmax(largest_error(absolute, want.absolute, want.absolute),
                     std::fmax(largest_error(sum, want.sum, want.absolute),
                               largest_error(map_absolute, want.map_absolute, want.absolute)));
}

double check_maps(int variant, int positions) {
    const int count = 7;
    const auto maps = normal((size_t)count * positions), gradients = normal((size_t)count * positions, 0.5);
    std::vector<float> absolute(count), sum(count);
    viscnn_map_products(variant, 2, maps.data(), gradients.data(), count, positions, absolute.data(), sum.data());
    std::vector<double> sizes(count), sums(count);
    for (int i = 0; i < count * positions; i++) {
        sizes[i / positions] += std::fabs((double)maps[i] * gradients[i]);
        sums[i / positions] += (double)maps[i] * gradients[i];
    }
    return std::fmax(largest_error(absolute, sizes, sizes), largest_error(sum, sums, sizes));
}

}  // namespace

int main() {
    const Case cases[] = {
        {2, 1, 17, 5, 9, 11, 3, 3, 1, 1, 1, 0.3},  {1, 1, 33, 6, 8, 8, 5, 5, 1, 1, 2, 0.9},
        {3, 1, 3, 7, 19, 17, 3, 3, 1, 1, 1, 0.6},  {1, 1, 3, 4, 35, 31, 11, 11, 4, 1, 2, 0.1},
        {2, 1, 1, 3, 15, 13, 7, 7, 2, 1, 3, 0.5},  {2, 3, 5, 4, 12, 9, 3, 3, 2, 2, 1, 0.4},
        {1, 2, 16, 8, 7, 7, 2, 5, 1, 1, 0, 1.0},   {2, 1, 20, 3, 14, 14, 1, 7, 1, 1, 0, 0.02},
        {1, 1, 40, 9, 6, 6, 3, 3, 1, 1, 1, 0.0},
    };
    double largest = 0;
    for (int variant = 0; const char *name = viscnn_variant(variant); variant++) {
        double of_variant = 0;
        for (const Case &each : cases)
            for (int threads = 1; threads < 3; threads++) of_variant = std::fmax(of_variant, check(each, variant, threads));
        for (int positions : {1, 3, 16, 63, 64, 200, 5000}) of_variant = std::fmax(of_variant, check_maps(variant, positions));
        printf("%s %.3g\n", name, of_variant);
        largest = std::fmax(largest, of_variant);
    }
    return largest <= 1e-5 ? 0 : 1;
}
