// catena inspect: the module tree as the model's authors print it, with shapes, and where the bytes
// are. Nothing is loaded: a config.json alone is enough.
#include <algorithm>

#include "model/arch/arch.h"
#include "services/cli/model_options.h"
#include "services/cli/model_sizes.h"
#include "services/cli/output.h"

namespace catena::cli {
namespace {

struct InspectOptions {
  ModelOptions model;
  bool json = false;
};

std::string Linear(std::string_view name, int64_t in, int64_t out, bool bias = false) {
  return fmt::format("({}): Linear(in_features={}, out_features={}, bias={})", name, in, out,
                     bias ? "True" : "False");
}

// What transformers' classes of an architecture begin with: "Phi3", "Llama".
std::string_view Family(const ModelConfig& config) {
  const std::string_view name = ArchitectureOf(config).hf_class;
  return name.substr(0, name.find("For"));
}

// As transformers prints the module: nn.Module's indentation.
std::string ModuleTree(const ModelConfig& c, bool fused) {
  const std::string_view family = Family(c);
  const auto norm_of = [&](int64_t size) {
    return fmt::format("{}RMSNorm(({},), eps={:.0e})", family, size, c.rms_norm_eps);
  };
  const std::string norm = norm_of(c.hidden_size);
  std::string t = fmt::format("{}ForCausalLM(\n  (model): {}Model(\n", family, family);
  auto line = [&t](int depth, const std::string& text) {
    t += std::string(2 * depth, ' ') + text + "\n";
  };
  line(2, fmt::format("(embed_tokens): Embedding({}, {})", c.vocab_size, c.hidden_size));
  line(2, "(layers): ModuleList(");
  line(3, fmt::format("(0-{}): {} x {}DecoderLayer(", c.n_layers - 1, c.n_layers, family));
  line(4, fmt::format("(self_attn): {}Attention(", family));
  if (fused) {
    line(5, Linear("o_proj", c.q_cols(), c.hidden_size));
    line(5, Linear("qkv_proj", c.hidden_size, c.qkv_cols()));
  } else {
    line(5, Linear("q_proj", c.hidden_size, c.q_cols(), c.qkv_bias));
    line(5, Linear("k_proj", c.hidden_size, c.kv_cols(), c.qkv_bias));
    line(5, Linear("v_proj", c.hidden_size, c.kv_cols(), c.qkv_bias));
    line(5, Linear("o_proj", c.q_cols(), c.hidden_size));
    if (c.qk_norm) {
      line(5, "(q_norm): " + norm_of(c.head_dim));
      line(5, "(k_norm): " + norm_of(c.head_dim));
    }
  }
  line(4, ")");
  line(4, fmt::format("(mlp): {}MLP(", family));
  if (fused) {
    line(5, Linear("gate_up_proj", c.hidden_size, 2 * c.intermediate_size));
  } else {
    line(5, Linear("gate_proj", c.hidden_size, c.intermediate_size));
    line(5, Linear("up_proj", c.hidden_size, c.intermediate_size));
  }
  line(5, Linear("down_proj", c.intermediate_size, c.hidden_size));
  line(5, fmt::format("({}): {}()", fused ? "activation_fn" : "act_fn",
                      c.gate == Gate::kSilu ? "SiLUActivation" : "GELUTanh"));
  line(4, ")");
  line(4, "(input_layernorm): " + norm);
  line(4, "(post_attention_layernorm): " + norm);
  if (c.post_norms) {
    line(4, "(pre_feedforward_layernorm): " + norm);
    line(4, "(post_feedforward_layernorm): " + norm);
  }
  if (fused) {
    line(4, "(resid_attn_dropout): Dropout(p=0.0, inplace=False)");
    line(4, "(resid_mlp_dropout): Dropout(p=0.0, inplace=False)");
  }
  line(3, ")");
  line(2, ")");
  line(2, "(norm): " + norm);
  line(2, fmt::format("(rotary_emb): {}RotaryEmbedding()", family));
  line(1, ")");
  line(1, Linear("lm_head", c.hidden_size, c.vocab_size));
  return t + ")\n";
}

std::string Facts(const ModelConfig& c) {
  std::string window = c.sliding_window == 0 ? "" : fmt::format(", window {}", c.sliding_window);
  if (!window.empty() && !c.global.empty()) {
    window += fmt::format(" in {} blocks", std::count(c.global.begin(), c.global.end(), false));
  }
  return fmt::format("\n{} blocks, {} query and {} key-value heads of {}, context {}{}{}\n",
                     c.n_layers, c.n_heads, c.n_kv_heads, c.head_dim, c.context_length, window,
                     c.tied_embeddings ? ", head tied to the embedding" : "");
}

std::string SizeTable(const ModelConfig& c, const ModelSizes& s) {
  const int64_t total = s.embedding.stored + s.block.stored * c.n_layers + s.head.stored;
  const int64_t parameters = s.embedding.parameters + s.block.parameters * c.n_layers +
                             (c.tied_embeddings ? c.hidden_size : s.head.parameters);
  std::string t = fmt::format("\n{:<22}{:>14}{:>14}  {}\n", "", "parameters", "bytes", "dtype");
  auto row = [&t](const std::string& name, const PartSize& p) {
    t +=
        fmt::format("{:<22}{:>14}{:>14}  {}\n", name, p.parameters, HumanBytes(p.stored), p.dtypes);
  };
  row("embedding", s.embedding);
  row("block", s.block);
  row(fmt::format("{} blocks", c.n_layers),
      {s.block.parameters * c.n_layers, s.block.stored * c.n_layers, s.block.dtypes});
  row(c.tied_embeddings ? "head (tied)" : "head", s.head);
  t += fmt::format("{:<22}{:>14}{:>14}\n", "model", parameters,
                   HumanBytes(c.tied_embeddings ? total - s.embedding.stored : total));
  t += fmt::format("{:<22}{:>14}{:>14}\n", "KV cache, a token", "",
                   HumanBytes(s.kv_bytes_per_token));
  return t;
}

absl::Status RunInspect(const InspectOptions& o) {
  CATENA_ASSIGN_OR_RETURN(const Model model, OpenModelShapes(o.model));
  const ModelConfig& c = model.config();
  CATENA_ASSIGN_OR_RETURN(const ModelSizes sizes, MeasureModel(*model.checkpoint));
  if (!o.json) {
    return Write(ModuleTree(c, sizes.fused) + Facts(c) + SizeTable(c, sizes) +
                 (model.has_weights ? "" : "\nno weights here: sizes are those of bf16\n"));
  }
  auto part = [](const PartSize& p) {
    return nlohmann::ordered_json{
        {"parameters", p.parameters}, {"bytes", p.stored}, {"dtypes", p.dtypes}};
  };
  return WriteJson({{"architecture", c.architecture},
                    {"vocab_size", c.vocab_size},
                    {"hidden_size", c.hidden_size},
                    {"intermediate_size", c.intermediate_size},
                    {"n_layers", c.n_layers},
                    {"n_heads", c.n_heads},
                    {"n_kv_heads", c.n_kv_heads},
                    {"head_dim", c.head_dim},
                    {"context_length", c.context_length},
                    {"sliding_window", c.sliding_window},
                    {"tied_embeddings", c.tied_embeddings},
                    {"embedding", part(sizes.embedding)},
                    {"block", part(sizes.block)},
                    {"head", part(sizes.head)},
                    {"kv_bytes_per_token", sizes.kv_bytes_per_token}});
}

}  // namespace

Action DeclareInspect(App& app) {
  auto o = std::make_shared<InspectOptions>();
  o->model.Declare(app, "model,-m,--model");
  app.AddFlag("--json", &o->json, "One JSON object");
  return [o] { return RunInspect(*o); };
}

}  // namespace catena::cli
