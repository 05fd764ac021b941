"""The command gives the logits and greedy ids that transformers gave, however the model is cut."""

import unittest

from catena import F32, GOLDEN_MODELS, OWN_GOLDEN_MODELS, QUANTISED_MODELS, CatenaTest, commas, \
    read_json, steps_above

LOGIT_TOLERANCE = 1e-3
LEAST_MARGIN = 1e-3  # of a greedy step that must agree


class GoldenTest(CatenaTest):

    def cuts(self, model):
        """The options of one stage, of two and of a stage a block."""
        blocks = read_json(f"{model}/config.json")["num_hidden_layers"]
        return (), ("--stages", 2), ("--layers", commas(f"{i}-{i + 1}" for i in range(blocks)))

    def each(self):
        """Every golden case under every cut: (model folder, case, cut, where)."""
        for name in GOLDEN_MODELS + OWN_GOLDEN_MODELS + QUANTISED_MODELS:
            model = self.golden(name)
            for case in read_json(f"{model}/expected.json")["cases"]:
                for cut in self.cuts(model):
                    where = f"{name}, prompt of {len(case['prompt'])}, {' '.join(map(str, cut))}"
                    yield model, case, cut, where

    def assert_position(self, line, case, where):
        at = line["position"]
        logits, top = line["logits"], line["top"]
        self.assertEqual(len(top), 20, where)
        for (token, value), (want_token, want) in zip(top, case["top"][at]):
            # The k-th largest of two lists that are near each other are near each other.
            self.assertAlmostEqual(value, want, delta=LOGIT_TOLERANCE, msg=where)
            self.assertAlmostEqual(logits[want_token], want, delta=LOGIT_TOLERANCE, msg=where)
            self.assertEqual(logits[token], value, where)
        self.assertEqual(top, sorted(top, key=lambda t: (-t[1], t[0])), where)
        self.assertAlmostEqual(line["logsumexp"], case["logsumexp"][at], delta=LOGIT_TOLERANCE,
                               msg=where)
        if "logits" in case:
            want = case["logits"][at]
            self.assertEqual(len(logits), len(want), where)
            worst = max(abs(a - b) for a, b in zip(logits, want))
            self.assertLess(worst, LOGIT_TOLERANCE, where)

    def test_logits_agree_with_transformers_under_every_cut(self):
        for model, case, cut, where in self.each():
            lines = self.lines_of("logits", "-m", model, "--prompt-tokens", commas(case["prompt"]),
                                  "--all", *F32, *cut)
            self.assertEqual([line["position"] for line in lines], list(range(len(case["prompt"]))))
            for line in lines:
                self.assert_position(line, case, f"{where}, position {line['position']}")

    def test_greedy_ids_agree_with_transformers_under_every_cut(self):
        for model, case, cut, where in self.each():
            out = self.object_of("generate", "-m", model, "--prompt-tokens", commas(case["prompt"]),
                                 "--json", "--ignore-eos", "--max-tokens", len(case["greedy"]),
                                 *F32, *cut)
            sure = steps_above(case["greedy_margin"], LEAST_MARGIN)
            self.assertEqual(out["token_ids"][:sure], case["greedy"][:sure], where)
            self.assertEqual(len(out["token_ids"]), len(case["greedy"]), where)


class StoriesTest(GoldenTest):
    """stories260k-phi3 writes real sentences."""

    def each(self):
        model = self.shared("stories260k-phi3")
        for cut in self.cuts(model):
            yield model, read_json(f"{model}/golden.json"), cut, f"cut {cut}"

    def test_logits_agree_with_transformers_under_every_cut(self):
        for model, golden, cut, where in self.each():
            line = self.object_of("logits", "-m", model, "--all", *F32, *cut, "--prompt-tokens",
                                  commas(golden["prompt_ids"]))
            want = golden["logits_step0"]
            self.assertEqual(len(line["logits"]), len(want), where)
            worst = max(abs(a - b) for a, b in zip(line["logits"], want))
            self.assertLess(worst, LOGIT_TOLERANCE, where)

    def test_greedy_ids_agree_with_transformers_under_every_cut(self):
        for model, golden, cut, where in self.each():
            out = self.object_of("generate", "-m", model, "--json", *F32, *cut, "--prompt-tokens",
                                 commas(golden["prompt_ids"]), "--max-tokens",
                                 len(golden["greedy_ids"]))
            self.assertEqual(out["token_ids"], golden["greedy_ids"], where)
            self.assertEqual(out["text"].strip(), golden["text"].strip(), where)


if __name__ == "__main__":
    unittest.main()
