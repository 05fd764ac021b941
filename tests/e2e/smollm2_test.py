"""The default model, and the tokenizers of both models, through the command."""

import unittest

from catena import F32, CatenaTest, commas, read_json, read_json_lines, steps_above

LEAST_MARGIN = 0.02  # of a greedy step that must agree: the file holds Q4_1 weights

# Ways to run the same model that must not change one bit of what comes out.
SAME_BITS = (("--threads", 1), ("--threads", 2), ("--threads", 3), ("--stages", 1),
             ("--stages", 2), ("--stages", 30), ("--layers", "0-1,1-17,17-30"), ("--batch", 1),
             ("--batch", 7), ("--batch", 512), ("--cpu-target", "avx2"),
             ("--threads", 3, "--layers", "0-29,29-30", "--batch", 5))


class GreedyTest(CatenaTest):

    def setUp(self):
        self.model = self.smollm2()
        self.cases = read_json(self.shared("smollm2/greedy.json"))

    def assert_greedy(self, out, case):
        """Exact as long as the reference itself was sure."""
        sure = steps_above(case["greedy_margin"], LEAST_MARGIN)
        self.assertEqual(out["token_ids"][:sure], case["greedy"][:sure], case["text"])
        self.assertEqual(out["stats"]["prompt_tokens"], len(case["prompt"]), case["text"])
        decoded = self.tokenize(self.model, [{"ids": case["greedy"][:sure]}])[0]
        beginning = decoded["text_skip_special"].rstrip("\ufffd")
        self.assertEqual(out["text"][:len(beginning)], beginning)
        if sure == len(case["greedy"]):
            self.assertEqual(out["token_ids"], case["greedy"], case["text"])
            self.assertEqual(out["text"], case["output"], case["text"])

    def test_ids_of_the_float32_path_are_those_of_transformers(self):
        for case in self.cases:
            out = self.object_of("generate", "-m", self.model, "--json", *F32, "--prompt-tokens",
                                 commas(case["prompt"]), "--max-tokens", len(case["greedy"]))
            self.assert_greedy(out, case)

    def test_text_in_gives_the_text_of_transformers_with_and_without_chat(self):
        for case in self.cases:
            chat = ("--chat",) if case["chat"] else ()
            out = self.object_of("generate", "-m", self.model, "--json", *F32, "--prompt",
                                 case["text"], *chat, "--max-tokens", len(case["greedy"]))
            self.assert_greedy(out, case)

    def test_chat_template_gives_the_prompts_of_transformers(self):
        cases = [c for c in self.cases if c["chat"]]
        self.assertTrue(cases)
        answers = self.tokenize(self.model, [
            {"messages": [{"role": "user", "content": c["text"]}], "add_generation_prompt": True}
            for c in cases])
        for case, answer in zip(cases, answers):
            self.assertEqual(answer, {"rendered": case["rendered"], "ids": case["prompt"]})

    def test_streamed_text_is_that_of_json_where_characters_take_several_tokens(self):
        options = ("generate", "-m", self.model, *F32, "--prompt", self.cases[-1]["text"],
                   "--chat", "--max-tokens", 40)
        out = self.object_of(*options, "--json")
        self.assertFalse(out["text"].isascii())
        self.assertNotIn("\ufffd", out["text"])
        self.assertEqual(self.text_of(*options), out["text"] + "\n")

    def test_default_path_knows_the_capital_of_france(self):
        text = self.text_of("generate", "-m", self.model, "--prompt", "The capital of France is")
        self.assertIn("Paris", text)


class PerplexityTest(CatenaTest):

    def assert_perplexity(self, tolerance, *options):
        path = self.shared("smollm2/perplexity_gpl3.json")
        reference = read_json(path)
        out = self.object_of("perplexity", "-m", self.smollm2(), "--tokens", path, *options)
        self.assertEqual(out["tokens"], len(reference["tokens"]))
        ratio = out["perplexity"] / reference["perplexity"]
        self.assertAlmostEqual(ratio, 1, delta=tolerance)

    def test_float32_path_is_within_two_thousandths_of_transformers(self):
        self.assert_perplexity(0.002, *F32)

    def test_int8_path_is_within_five_thousandths_of_transformers(self):
        self.assert_perplexity(0.005)


class ExactnessTest(CatenaTest):
    """The exactness contract, on the default int8 path."""

    def setUp(self):
        self.model = self.smollm2()
        self.case = read_json(self.shared("smollm2/greedy.json"))[2]
        self.prompt = commas(self.case["prompt"])  # longer than a small batch

    def assert_same_bytes(self, *command, ways=SAME_BITS):
        want = self.text_of(*command)
        self.assertGreater(len(want), 100)
        for way in ways:
            self.assertTrue(self.text_of(*command, *way) == want, f"{way} changed the output")

    def test_text_is_the_same_bytes_for_any_threads_stages_and_batch(self):
        self.assert_same_bytes("generate", "-m", self.model, "--prompt", self.case["text"],
                               "--chat", "--max-tokens", 40, "--ignore-eos")

    def test_logits_are_the_same_bits_for_any_threads_stages_and_batch(self):
        self.assert_same_bytes("logits", "-m", self.model, "--prompt-tokens", self.prompt)

    def test_sampled_text_is_the_same_bytes_for_any_threads_stages_and_batch(self):
        self.assert_same_bytes("generate", "-m", self.model, "--prompt-tokens", self.prompt,
                               "--temperature", 1, "--seed", 5, "--n", 2, "--max-tokens", 24,
                               "--ignore-eos", ways=SAME_BITS[-1:])


class TokenizeTest(CatenaTest):

    def assert_cases(self, model, cases):
        """Encoding, and decoding where the file has it, in one process and in order."""
        requests, wanted = [], []
        for c in cases:
            self.assertFalse(c.get("add_special", False))
            key = "text" if "text" in c and "bytes_b64" not in c else "bytes_b64"
            requests.append({key: c[key]})
            wanted.append({"ids": c["ids"]})
            if "decoded_skip_special" in c:
                requests.append({"ids": c["ids"]})
                wanted.append({"text": c["decoded"],
                               "text_skip_special": c["decoded_skip_special"]})
        self.assertGreater(len(cases), 5)
        for request, answer, want in zip(requests, self.tokenize(model, requests), wanted):
            self.assertEqual(answer, want, str(request)[:200])

    def test_smollm2_text_is_encoded_and_decoded_as_the_reference_does(self):
        cases = read_json_lines(self.shared("smollm2/smollm2_encode.jsonl"))
        self.assert_cases(self.smollm2(), cases)

    def test_phi3_text_is_encoded_and_decoded_as_the_reference_does(self):
        cases = read_json_lines(self.shared("phi3/phi3_mini_encode.jsonl"))
        self.assert_cases(self.shared("phi3"), cases)

    def test_phi3_invalid_utf8_is_encoded_as_its_replacement(self):
        cases = read_json_lines(self.shared("phi3/phi3_mini_invalid_utf8.jsonl"))
        self.assert_cases(self.shared("phi3"), cases)

    def test_phi3_ids_are_decoded_as_the_reference_does(self):
        cases = read_json_lines(self.shared("phi3/phi3_mini_decode.jsonl"))
        answers = self.tokenize(self.shared("phi3"), [{"ids": c["ids"]} for c in cases])
        for case, answer in zip(cases, answers):
            want = {key: case[key] for key in ("text", "text_skip_special")}
            self.assertEqual(answer, want, case["ids"][:50])

    def test_phi3_messages_are_rendered_and_encoded_as_the_reference_does(self):
        cases = read_json_lines(self.shared("phi3/phi3_mini_chat.jsonl"))
        requests = [{k: c[k] for k in ("messages", "add_generation_prompt")} for c in cases]
        for case, answer in zip(cases, self.tokenize(self.shared("phi3"), requests)):
            self.assertEqual(answer, {"rendered": case["rendered"], "ids": case["ids"]})


if __name__ == "__main__":
    unittest.main()
