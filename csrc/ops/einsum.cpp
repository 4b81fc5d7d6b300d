// einsum and tensordot: sums of products over named dimensions, as permutations around one batched matrix product.
// The one idea: of two operands every label is either kept in both (batch), kept in one (rows, columns), or summed.
#include <algorithm>
#include <string>
#include <vector>

#include "ops/ops.h"

namespace lamina {
namespace {

using Labels = std::vector<int>;
constexpr int kLetters = 52;   // A-Z are 0..25, a-z 26..51: the order of an implicit output
constexpr int kEllipsis = -1;  // stands for the broadcast dimensions, labelled kLetters + i

int letter(char c) { return c >= 'A' && c <= 'Z' ? c - 'A' : c >= 'a' && c <= 'z' ? c - 'a' + 26 : -1; }
std::string label_name(int label) {
  if (label >= kLetters) return "...";
  return std::string(1, char(label < 26 ? 'A' + label : 'a' + label - 26));
}
bool contains(const Labels& labels, int label) {
  return std::find(labels.begin(), labels.end(), label) != labels.end();
}
int find(const Labels& labels, int label) {
  return int(std::find(labels.begin(), labels.end(), label) - labels.begin());
}

Labels parse_term(const std::string& term, const std::string& equation) {
  Labels out;
  for (size_t i = 0; i < term.size(); ++i) {
    if (term[i] == ' ') continue;
    if (term[i] == '.') {
      LM_CHECK(term.compare(i, 3, "...") == 0 && !contains(out, kEllipsis), ValueError, "einsum: the equation '",
               equation, "' has a stray '.'; need at most one '...' in a term");
      out.push_back(kEllipsis);
      i += 2;
      continue;
    }
    LM_CHECK(letter(term[i]) >= 0, ValueError, "einsum: the equation '", equation, "' contains '", term[i],
             "'; need letters, '...', ',' and '->'");
    out.push_back(letter(term[i]));
  }
  return out;
}

// An operand and the names of its dimensions, each name once.
struct Factor {
  Tensor x;
  Labels labels;

  void permute_to(const Labels& order) {
    if (order == labels) return;
    Shape dims;
    for (int label : order) dims.push_back(find(labels, label));
    x = permute(x, dims);
    labels = order;
  }
  void sum_out(const Labels& dropped) {
    if (dropped.empty()) return;
    Shape dims;
    Labels rest;
    for (size_t i = 0; i < labels.size(); ++i) {
      if (contains(dropped, labels[i]))
        dims.push_back(int64_t(i));
      else
        rest.push_back(labels[i]);
    }
    x = sum(x, dims, false, std::nullopt);
    labels = rest;
  }
  void drop_unit(int label) {
    const int dim = find(labels, label);
    x = squeeze(x, Shape{dim});
    labels.erase(labels.begin() + dim);
  }
  int64_t size(int label) const { return x.size(find(labels, label)); }
};

// "iij" takes the diagonal of the dimensions called i.
Factor take_diagonals(Tensor x, Labels labels) {
  for (size_t i = 0; i < labels.size(); ++i)
    for (size_t j = i + 1; j < labels.size(); ++j) {
      if (labels[i] != labels[j]) continue;
      const int label = labels[i];
      LM_CHECK(x.size(int(i)) == x.size(int(j)), ValueError, "einsum: the label '", label_name(label),
               "' repeats in one operand with sizes ", x.size(int(i)), " and ", x.size(int(j)), "; need one size");
      x = diagonal(x, 0, int64_t(i), int64_t(j));  // the diagonal goes last
      labels.erase(labels.begin() + long(j));
      labels.erase(labels.begin() + long(i));
      labels.push_back(label);
      return take_diagonals(x, labels);
    }
  return {x, labels};
}

Labels without(const Labels& labels, const Labels& removed) {
  Labels out;
  for (int label : labels)
    if (!contains(removed, label)) out.push_back(label);
  return out;
}
Labels joined(std::initializer_list<const Labels*> parts) {
  Labels out;
  for (const Labels* part : parts) out.insert(out.end(), part->begin(), part->end());
  return out;
}

// The product of two factors, summed over what is not in `keep`.
Factor contract(Factor a, Factor b, const Labels& keep) {
  // A dimension of size 1 that broadcasts against the other operand's is none at all.
  for (int label : Labels(a.labels))
    if (contains(b.labels, label) && a.size(label) != b.size(label)) (a.size(label) == 1 ? a : b).drop_unit(label);
  a.sum_out(without(without(a.labels, b.labels), keep));
  b.sum_out(without(without(b.labels, a.labels), keep));
  const Labels rows = without(a.labels, b.labels), columns = without(b.labels, a.labels);
  const Labels shared = without(a.labels, rows), summed = without(shared, keep), batch = without(shared, summed);
  const Labels result = joined({&batch, &rows, &columns});
  a.permute_to(joined({&batch, &rows, &summed}));
  b.permute_to(joined({&batch, &summed, &columns}));
  Shape batch_sizes, row_sizes, sum_sizes, column_sizes, sizes;
  for (int label : batch) batch_sizes.push_back(a.size(label)), sizes.push_back(a.size(label));
  for (int label : rows) row_sizes.push_back(a.size(label)), sizes.push_back(a.size(label));
  for (int label : summed) sum_sizes.push_back(a.size(label));
  for (int label : columns) column_sizes.push_back(b.size(label)), sizes.push_back(b.size(label));
  const int64_t m = row_sizes.numel(), n = column_sizes.numel(), k = sum_sizes.numel();
  if (summed.empty()) {  // nothing to sum: (batch, rows, 1) * (batch, 1, columns)
    Shape wide = sizes;
    for (int i = 0; i < column_sizes.size(); ++i) wide[wide.size() - 1 - i] = 1;
    Shape tall = batch_sizes;
    for (int i = 0; i < row_sizes.size(); ++i) tall.push_back(1);
    for (int64_t size : column_sizes) tall.push_back(size);
    return {mul(reshape(a.x, wide), reshape(b.x, tall)), result};
  }
  Tensor out;
  if (batch.empty()) {
    out = matmul(reshape(a.x, Shape{m, k}), reshape(b.x, Shape{k, n}));
  } else {
    const int64_t count = batch_sizes.numel();
    out = matmul(reshape(a.x, Shape{count, m, k}), reshape(b.x, Shape{count, k, n}));
  }
  return {reshape(out, sizes), result};
}

}  // namespace

Tensor einsum(const std::string& equation, const Tensors& operands) {
  const size_t arrow = equation.find("->");
  std::string left = equation.substr(0, arrow);
  std::vector<Labels> terms;
  for (size_t at = 0; at <= left.size();) {
    const size_t comma = std::min(left.find(',', at), left.size());
    terms.push_back(parse_term(left.substr(at, comma - at), equation));
    at = comma + 1;
  }
  LM_CHECK(terms.size() == operands.size(), ValueError, "einsum: the equation '", equation, "' has ", terms.size(),
           " terms, but ", operands.size(), " operands were given; need as many");

  // Give the broadcast dimensions labels of their own, aligned to the right.
  int most = 0;
  for (size_t i = 0; i < terms.size(); ++i) {
    const bool dots = contains(terms[i], kEllipsis);
    const int named = int(terms[i].size()) - dots, hidden = operands[i].dim() - named;
    LM_CHECK(dots ? hidden >= 0 : hidden == 0, ValueError, "einsum: operand ", i, " has ", operands[i].dim(),
             " dimensions, shape ", operands[i].sizes(), ", but its term names ", named, dots ? " and '...'" : "",
             "; need one label for each");
    most = std::max(most, dots ? hidden : 0);
  }
  auto spell_out = [&](const Labels& term, int hidden) {
    Labels out;
    for (int label : term) {
      if (label != kEllipsis)
        out.push_back(label);
      else
        for (int d = most - hidden; d < most; ++d) out.push_back(kLetters + d);
    }
    return out;
  };
  std::vector<Factor> factors;
  std::vector<int64_t> sizes(size_t(kLetters + most), -1);
  std::vector<int> count(sizes.size());
  for (size_t i = 0; i < terms.size(); ++i) {
    const int named = int(terms[i].size()) - contains(terms[i], kEllipsis);
    const Labels labels = spell_out(terms[i], operands[i].dim() - named);
    for (size_t d = 0; d < labels.size(); ++d) {
      int64_t& known = sizes[size_t(labels[d])];
      const int64_t size = operands[i].size(int(d));
      ++count[size_t(labels[d])];
      LM_CHECK(known < 0 || known == 1 || size == 1 || known == size, ValueError, "einsum: the label '",
               label_name(labels[d]), "' has size ", known, " and, in operand ", i, " of shape ", operands[i].sizes(),
               ", size ", size, "; need one size, or 1");
      if (known < 0 || known == 1) known = size;
    }
    factors.push_back(take_diagonals(operands[i], labels));
  }

  Labels out;
  if (arrow != std::string::npos) {
    out = spell_out(parse_term(equation.substr(arrow + 2), equation), most);
  } else {  // implicit: the broadcast dimensions, then every letter that appears once
    for (int d = 0; d < most; ++d) out.push_back(kLetters + d);
    for (int label = 0; label < kLetters; ++label)
      if (count[size_t(label)] == 1) out.push_back(label);
  }
  for (size_t i = 0; i < out.size(); ++i) {
    LM_CHECK(count[size_t(out[i])] > 0, ValueError, "einsum: the output of '", equation, "' names '",
             label_name(out[i]), "', which is in no input; need labels of the inputs");
    LM_CHECK(find(out, out[i]) == int(i), ValueError, "einsum: the output of '", equation, "' names '",
             label_name(out[i]), "' twice; need each label once");
  }

  Factor result = factors[0];
  for (size_t i = 1; i < factors.size(); ++i) {
    Labels keep = out;
    for (size_t later = i + 1; later < factors.size(); ++later)
      keep.insert(keep.end(), factors[later].labels.begin(), factors[later].labels.end());
    result = contract(result, factors[i], keep);
  }
  result.sum_out(without(result.labels, out));
  result.permute_to(out);
  return result.x;
}

Tensor tensordot(const Tensor& a, const Tensor& b, const ShapePair& dims) {
  const auto& [dims_a, dims_b] = dims;
  LM_CHECK(dims_a.size() == dims_b.size(), ValueError, "tensordot: ", dims_a.size(), " dimensions of a, ",
           dims_b.size(), " of b; need as many");
  Factor left{a, {}}, right{b, {}};
  for (int i = 0; i < a.dim(); ++i) left.labels.push_back(i);
  for (int i = 0; i < b.dim(); ++i) right.labels.push_back(kMaxDims + i);
  for (int i = 0; i < dims_a.size(); ++i) {
    const int da = wrap_dim(dims_a[i], a.dim(), "tensordot"), db = wrap_dim(dims_b[i], b.dim(), "tensordot");
    LM_CHECK(a.size(da) == b.size(db), ValueError, "tensordot: dimension ", da, " of a is ", a.size(da), ", dimension ",
             db, " of b is ", b.size(db), "; need equal sizes");
    LM_CHECK(right.labels[size_t(db)] >= kMaxDims && !contains(right.labels, da), ValueError, "tensordot: dimension ",
             da, " of a or ", db, " of b is listed twice; need each once");
    right.labels[size_t(db)] = da;
  }
  const Labels rows = without(left.labels, right.labels), columns = without(right.labels, left.labels);
  Factor out = contract(left, right, joined({&rows, &columns}));
  return out.x;
}

Tensor tensordot(const Tensor& a, const Tensor& b, int64_t dims) {
  LM_CHECK(dims >= 0 && dims <= std::min(a.dim(), b.dim()), ValueError, "tensordot: dims is ", dims, ", a is ",
           a.sizes(), ", b is ", b.sizes(), "; need 0 <= dims <= the dimensions of both");
  ShapePair pairs;
  for (int64_t i = 0; i < dims; ++i) pairs.first.push_back(a.dim() - dims + i), pairs.second.push_back(i);
  return tensordot(a, b, pairs);
}

}  // namespace lamina
