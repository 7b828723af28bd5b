/* The layout of the plugin interface on 64-bit machines. A line here never changes: plugins were
 * compiled with it. What is added to a structure goes to its end, and its lines after those that
 * are here; only its size may grow. */
#include "plugins/graphrun_plugin.h"

#if UINTPTR_MAX == UINT64_MAX
#define OFFSET(type, field, offset) \
  _Static_assert(offsetof(type, field) == (offset), #type "." #field " has moved")
#define SIZE(type, size) _Static_assert(sizeof(type) == (size), "the size of " #type " is another")

OFFSET(gr_dim, value, 0);
OFFSET(gr_dim, symbol, 8);
SIZE(gr_dim, 16);

OFFSET(gr_tensor, struct_size, 0);
OFFSET(gr_tensor, dtype, 8);
OFFSET(gr_tensor, rank, 12);
OFFSET(gr_tensor, dims, 16);
OFFSET(gr_tensor, num_elements, 24);
OFFSET(gr_tensor, data, 32);
SIZE(gr_tensor, 40);

OFFSET(gr_attr, struct_size, 0);
OFFSET(gr_attr, name, 8);
OFFSET(gr_attr, kind, 16);
OFFSET(gr_attr, count, 24);
OFFSET(gr_attr, i, 32);
OFFSET(gr_attr, f, 40);
OFFSET(gr_attr, s, 48);
OFFSET(gr_attr, tensor, 56);
OFFSET(gr_attr, ints, 64);
OFFSET(gr_attr, floats, 72);
OFFSET(gr_attr, strings, 80);
SIZE(gr_attr, 88);

OFFSET(gr_parameter, struct_size, 0);
OFFSET(gr_parameter, name, 8);
OFFSET(gr_parameter, fallback, 16);
OFFSET(gr_parameter, min, 24);
OFFSET(gr_parameter, max, 32);
OFFSET(gr_parameter, doc, 40);
SIZE(gr_parameter, 48);

OFFSET(gr_node_api, struct_size, 0);
OFFSET(gr_node_api, name, 8);
OFFSET(gr_node_api, domain, 16);
OFFSET(gr_node_api, op_type, 24);
OFFSET(gr_node_api, num_inputs, 32);
OFFSET(gr_node_api, num_outputs, 40);
OFFSET(gr_node_api, has_input, 48);
OFFSET(gr_node_api, has_output, 56);
OFFSET(gr_node_api, input_dtype, 64);
OFFSET(gr_node_api, input_rank, 72);
OFFSET(gr_node_api, input_dim, 80);
OFFSET(gr_node_api, output_dtype, 88);
OFFSET(gr_node_api, output_rank, 96);
OFFSET(gr_node_api, output_dim, 104);
OFFSET(gr_node_api, attr_kind, 112);
OFFSET(gr_node_api, attr_int, 120);
OFFSET(gr_node_api, attr_float, 128);
OFFSET(gr_node_api, attr_string, 136);
OFFSET(gr_node_api, attr_ints, 144);
OFFSET(gr_node_api, attr_floats, 152);
OFFSET(gr_node_api, attr_strings, 160);
OFFSET(gr_node_api, attr_tensor, 168);
SIZE(gr_node_api, 176);

OFFSET(gr_infer_api, struct_size, 0);
OFFSET(gr_infer_api, set_output, 8);
OFFSET(gr_infer_api, constant, 16);
OFFSET(gr_infer_api, sizes, 24);
OFFSET(gr_infer_api, set_sizes, 32);
OFFSET(gr_infer_api, broadcast, 40);
SIZE(gr_infer_api, 48);

OFFSET(gr_kernel_api, struct_size, 0);
OFFSET(gr_kernel_api, decline, 8);
OFFSET(gr_kernel_api, set_scratch, 16);
OFFSET(gr_kernel_api, constant, 24);
OFFSET(gr_kernel_api, threads, 32);
OFFSET(gr_kernel_api, input, 40);
OFFSET(gr_kernel_api, output, 48);
OFFSET(gr_kernel_api, resize_output, 56);
OFFSET(gr_kernel_api, scratch, 64);
OFFSET(gr_kernel_api, seed, 72);
OFFSET(gr_kernel_api, step, 80);
OFFSET(gr_kernel_api, parallel_for, 88);
SIZE(gr_kernel_api, 96);

OFFSET(gr_expr_api, struct_size, 0);
OFFSET(gr_expr_api, op, 8);
OFFSET(gr_expr_api, ops, 16);
OFFSET(gr_expr_api, formula, 24);
OFFSET(gr_expr_api, number, 32);
OFFSET(gr_expr_api, scalar, 40);
OFFSET(gr_expr_api, ints, 48);
OFFSET(gr_expr_api, tensor, 56);
OFFSET(gr_expr_api, dtype, 64);
OFFSET(gr_expr_api, rank, 72);
OFFSET(gr_expr_api, dim, 80);
OFFSET(gr_expr_api, fail, 88);
OFFSET(gr_expr_api, add, 96);
OFFSET(gr_expr_api, sub, 104);
OFFSET(gr_expr_api, mul, 112);
OFFSET(gr_expr_api, div, 120);
OFFSET(gr_expr_api, pow, 128);
OFFSET(gr_expr_api, max, 136);
OFFSET(gr_expr_api, min, 144);
OFFSET(gr_expr_api, less, 152);
OFFSET(gr_expr_api, less_equal, 160);
OFFSET(gr_expr_api, greater, 168);
OFFSET(gr_expr_api, greater_equal, 176);
OFFSET(gr_expr_api, equal, 184);
OFFSET(gr_expr_api, logical_and, 192);
OFFSET(gr_expr_api, logical_or, 200);
OFFSET(gr_expr_api, neg, 208);
OFFSET(gr_expr_api, abs, 216);
OFFSET(gr_expr_api, sign, 224);
OFFSET(gr_expr_api, exp, 232);
OFFSET(gr_expr_api, log, 240);
OFFSET(gr_expr_api, sqrt, 248);
OFFSET(gr_expr_api, square, 256);
OFFSET(gr_expr_api, reciprocal, 264);
OFFSET(gr_expr_api, sin, 272);
OFFSET(gr_expr_api, cos, 280);
OFFSET(gr_expr_api, tanh, 288);
OFFSET(gr_expr_api, sigmoid, 296);
OFFSET(gr_expr_api, erf, 304);
OFFSET(gr_expr_api, floor, 312);
OFFSET(gr_expr_api, relu, 320);
OFFSET(gr_expr_api, logical_not, 328);
OFFSET(gr_expr_api, identity, 336);
OFFSET(gr_expr_api, where, 344);
OFFSET(gr_expr_api, cast, 352);
OFFSET(gr_expr_api, cast_like, 360);
OFFSET(gr_expr_api, matmul, 368);
OFFSET(gr_expr_api, transpose, 376);
OFFSET(gr_expr_api, reshape, 384);
OFFSET(gr_expr_api, reshape_to, 392);
OFFSET(gr_expr_api, shape_of, 400);
OFFSET(gr_expr_api, dim_of, 408);
OFFSET(gr_expr_api, expand, 416);
OFFSET(gr_expr_api, squeeze, 424);
OFFSET(gr_expr_api, unsqueeze, 432);
OFFSET(gr_expr_api, concat, 440);
OFFSET(gr_expr_api, slice, 448);
OFFSET(gr_expr_api, gather, 456);
OFFSET(gr_expr_api, reduce_sum, 464);
OFFSET(gr_expr_api, reduce_mean, 472);
OFFSET(gr_expr_api, reduce_max, 480);
OFFSET(gr_expr_api, zeros_like, 488);
OFFSET(gr_expr_api, full_like, 496);
OFFSET(gr_expr_api, sum_to, 504);
SIZE(gr_expr_api, 512);

OFFSET(gr_gradient_api, struct_size, 0);
OFFSET(gr_gradient_api, builder, 8);
OFFSET(gr_gradient_api, x, 16);
OFFSET(gr_gradient_api, y, 24);
OFFSET(gr_gradient_api, dy, 32);
OFFSET(gr_gradient_api, has_dy, 40);
OFFSET(gr_gradient_api, needs, 48);
OFFSET(gr_gradient_api, set_dx, 56);
SIZE(gr_gradient_api, 64);

OFFSET(gr_graph_api, struct_size, 0);
OFFSET(gr_graph_api, num_nodes, 8);
OFFSET(gr_graph_api, node, 16);
OFFSET(gr_graph_api, producer, 24);
OFFSET(gr_graph_api, constant, 32);
OFFSET(gr_graph_api, num_uses, 40);
OFFSET(gr_graph_api, before, 48);
OFFSET(gr_graph_api, input, 56);
OFFSET(gr_graph_api, output, 64);
OFFSET(gr_graph_api, replace, 72);
SIZE(gr_graph_api, 80);

OFFSET(gr_random_api, struct_size, 0);
OFFSET(gr_random_api, uniform, 8);
OFFSET(gr_random_api, normal, 16);
OFFSET(gr_random_api, below, 24);
SIZE(gr_random_api, 32);

OFFSET(gr_host, struct_size, 0);
OFFSET(gr_host, abi_major, 8);
OFFSET(gr_host, abi_minor, 12);
OFFSET(gr_host, version, 16);
OFFSET(gr_host, error, 24);
OFFSET(gr_host, error_code, 32);
OFFSET(gr_host, error_message, 40);
OFFSET(gr_host, error_free, 48);
OFFSET(gr_host, node, 56);
OFFSET(gr_host, infer, 64);
OFFSET(gr_host, kernel, 72);
OFFSET(gr_host, expr, 80);
OFFSET(gr_host, gradient, 88);
OFFSET(gr_host, graph, 96);
OFFSET(gr_host, random, 104);
SIZE(gr_host, 112);

OFFSET(gr_argument, struct_size, 0);
OFFSET(gr_argument, name, 8);
OFFSET(gr_argument, type, 16);
OFFSET(gr_argument, arity, 24);
OFFSET(gr_argument, role, 28);
OFFSET(gr_argument, unit_axis, 32);
OFFSET(gr_argument, doc, 40);
SIZE(gr_argument, 48);

OFFSET(gr_type, struct_size, 0);
OFFSET(gr_type, variable, 8);
OFFSET(gr_type, dtypes, 16);
OFFSET(gr_type, num_dtypes, 24);
SIZE(gr_type, 32);

OFFSET(gr_attr_spec, struct_size, 0);
OFFSET(gr_attr_spec, name, 8);
OFFSET(gr_attr_spec, kind, 16);
OFFSET(gr_attr_spec, required, 20);
OFFSET(gr_attr_spec, fallback, 24);
OFFSET(gr_attr_spec, doc, 32);
SIZE(gr_attr_spec, 40);

OFFSET(gr_in_place, input, 0);
OFFSET(gr_in_place, output, 4);
SIZE(gr_in_place, 8);

OFFSET(gr_kernel, struct_size, 0);
OFFSET(gr_kernel, name, 8);
OFFSET(gr_kernel, domain, 16);
OFFSET(gr_kernel, op_type, 24);
OFFSET(gr_kernel, dtypes, 32);
OFFSET(gr_kernel, num_dtypes, 40);
OFFSET(gr_kernel, self, 48);
OFFSET(gr_kernel, prepare, 56);
OFFSET(gr_kernel, run, 64);
OFFSET(gr_kernel, destroy, 72);
SIZE(gr_kernel, 80);

OFFSET(gr_sample_input, struct_size, 0);
OFFSET(gr_sample_input, fill, 8);
OFFSET(gr_sample_input, rank, 12);
OFFSET(gr_sample_input, dims, 16);
OFFSET(gr_sample_input, low, 24);
OFFSET(gr_sample_input, high, 32);
OFFSET(gr_sample_input, tensor, 40);
OFFSET(gr_sample_input, constant, 48);
SIZE(gr_sample_input, 56);

OFFSET(gr_sample, struct_size, 0);
OFFSET(gr_sample, inputs, 8);
OFFSET(gr_sample, num_inputs, 16);
OFFSET(gr_sample, attrs, 24);
OFFSET(gr_sample, num_attrs, 32);
OFFSET(gr_sample, num_outputs, 40);
OFFSET(gr_sample, no_gradient, 48);
OFFSET(gr_sample, no_compare, 56);
OFFSET(gr_sample, refused, 64);
OFFSET(gr_sample, gives, 72);
SIZE(gr_sample, 80);

OFFSET(gr_operator, struct_size, 0);
OFFSET(gr_operator, domain, 8);
OFFSET(gr_operator, name, 16);
OFFSET(gr_operator, since_version, 24);
OFFSET(gr_operator, flags, 28);
OFFSET(gr_operator, doc, 32);
OFFSET(gr_operator, inputs, 40);
OFFSET(gr_operator, num_inputs, 48);
OFFSET(gr_operator, outputs, 56);
OFFSET(gr_operator, num_outputs, 64);
OFFSET(gr_operator, types, 72);
OFFSET(gr_operator, num_types, 80);
OFFSET(gr_operator, attrs, 88);
OFFSET(gr_operator, num_attrs, 96);
OFFSET(gr_operator, self, 104);
OFFSET(gr_operator, infer_rule, 112);
OFFSET(gr_operator, infer, 120);
OFFSET(gr_operator, kernels, 128);
OFFSET(gr_operator, num_kernels, 136);
OFFSET(gr_operator, gradient, 144);
OFFSET(gr_operator, not_differentiable, 152);
OFFSET(gr_operator, no_gradient_for, 160);
OFFSET(gr_operator, num_no_gradient_for, 168);
OFFSET(gr_operator, body, 176);
OFFSET(gr_operator, body_text, 184);
OFFSET(gr_operator, in_place, 192);
OFFSET(gr_operator, num_in_place, 200);
OFFSET(gr_operator, samples, 208);
OFFSET(gr_operator, num_samples, 216);
SIZE(gr_operator, 224);

OFFSET(gr_loss_inputs, struct_size, 0);
OFFSET(gr_loss_inputs, output, 8);
OFFSET(gr_loss_inputs, target, 16);
OFFSET(gr_loss_inputs, class_weights, 24);
OFFSET(gr_loss_inputs, logits, 32);
SIZE(gr_loss_inputs, 40);

OFFSET(gr_loss, struct_size, 0);
OFFSET(gr_loss, name, 8);
OFFSET(gr_loss, doc, 16);
OFFSET(gr_loss, params, 24);
OFFSET(gr_loss, num_params, 32);
OFFSET(gr_loss, target, 40);
OFFSET(gr_loss, link, 44);
OFFSET(gr_loss, self, 48);
OFFSET(gr_loss, emit, 56);
SIZE(gr_loss, 64);

OFFSET(gr_slot, struct_size, 0);
OFFSET(gr_slot, name, 8);
OFFSET(gr_slot, initial, 16);
OFFSET(gr_slot, scalar, 24);
SIZE(gr_slot, 32);

OFFSET(gr_update, struct_size, 0);
OFFSET(gr_update, parameter, 8);
OFFSET(gr_update, gradient, 16);
OFFSET(gr_update, slots, 24);
OFFSET(gr_update, lr, 32);
OFFSET(gr_update, step, 40);
SIZE(gr_update, 48);

OFFSET(gr_optimizer, struct_size, 0);
OFFSET(gr_optimizer, name, 8);
OFFSET(gr_optimizer, doc, 16);
OFFSET(gr_optimizer, params, 24);
OFFSET(gr_optimizer, num_params, 32);
OFFSET(gr_optimizer, default_lr, 40);
OFFSET(gr_optimizer, slots, 48);
OFFSET(gr_optimizer, num_slots, 56);
OFFSET(gr_optimizer, self, 64);
OFFSET(gr_optimizer, emit, 72);
SIZE(gr_optimizer, 80);

OFFSET(gr_regularizer, struct_size, 0);
OFFSET(gr_regularizer, name, 8);
OFFSET(gr_regularizer, doc, 16);
OFFSET(gr_regularizer, params, 24);
OFFSET(gr_regularizer, num_params, 32);
OFFSET(gr_regularizer, self, 40);
OFFSET(gr_regularizer, gradient, 48);
OFFSET(gr_regularizer, penalty, 56);
OFFSET(gr_regularizer, after_update, 64);
SIZE(gr_regularizer, 72);

OFFSET(gr_schedule_inputs, struct_size, 0);
OFFSET(gr_schedule_inputs, step, 8);
OFFSET(gr_schedule_inputs, lr, 16);
OFFSET(gr_schedule_inputs, steps_per_epoch, 24);
OFFSET(gr_schedule_inputs, total_steps, 32);
OFFSET(gr_schedule_inputs, host_scale, 40);
SIZE(gr_schedule_inputs, 48);

OFFSET(gr_schedule, struct_size, 0);
OFFSET(gr_schedule, name, 8);
OFFSET(gr_schedule, doc, 16);
OFFSET(gr_schedule, params, 24);
OFFSET(gr_schedule, num_params, 32);
OFFSET(gr_schedule, self, 40);
OFFSET(gr_schedule, emit, 48);
SIZE(gr_schedule, 56);

OFFSET(gr_field, struct_size, 0);
OFFSET(gr_field, name, 8);
OFFSET(gr_field, dtype, 16);
OFFSET(gr_field, role, 20);
OFFSET(gr_field, rank, 24);
OFFSET(gr_field, dims, 32);
OFFSET(gr_field, classes, 40);
OFFSET(gr_field, num_classes, 48);
OFFSET(gr_field, range, 56);
OFFSET(gr_field, rows, 64);
SIZE(gr_field, 72);

OFFSET(gr_rows, struct_size, 0);
OFFSET(gr_rows, fields, 8);
OFFSET(gr_rows, num_fields, 16);
OFFSET(gr_rows, num_rows, 24);
OFFSET(gr_rows, state, 32);
OFFSET(gr_rows, get, 40);
SIZE(gr_rows, 48);

OFFSET(gr_dataset_request, struct_size, 0);
OFFSET(gr_dataset_request, path, 8);
OFFSET(gr_dataset_request, target, 16);
OFFSET(gr_dataset_request, features, 24);
OFFSET(gr_dataset_request, option_names, 32);
OFFSET(gr_dataset_request, option_values, 40);
OFFSET(gr_dataset_request, num_options, 48);
SIZE(gr_dataset_request, 56);

OFFSET(gr_dataset, struct_size, 0);
OFFSET(gr_dataset, name, 8);
OFFSET(gr_dataset, doc, 16);
OFFSET(gr_dataset, suffixes, 24);
OFFSET(gr_dataset, self, 32);
OFFSET(gr_dataset, open, 40);
OFFSET(gr_dataset, close, 48);
SIZE(gr_dataset, 56);

OFFSET(gr_transform, struct_size, 0);
OFFSET(gr_transform, name, 8);
OFFSET(gr_transform, doc, 16);
OFFSET(gr_transform, params, 24);
OFFSET(gr_transform, num_params, 32);
OFFSET(gr_transform, self, 40);
OFFSET(gr_transform, output_dims, 48);
OFFSET(gr_transform, apply, 56);
OFFSET(gr_transform, apply_batch, 64);
SIZE(gr_transform, 72);

OFFSET(gr_metric, struct_size, 0);
OFFSET(gr_metric, name, 8);
OFFSET(gr_metric, doc, 16);
OFFSET(gr_metric, higher_is_better, 24);
OFFSET(gr_metric, self, 32);
OFFSET(gr_metric, create, 40);
OFFSET(gr_metric, update, 48);
OFFSET(gr_metric, value, 56);
OFFSET(gr_metric, reset, 64);
OFFSET(gr_metric, destroy, 72);
SIZE(gr_metric, 80);

OFFSET(gr_pass, struct_size, 0);
OFFSET(gr_pass, name, 8);
OFFSET(gr_pass, doc, 16);
OFFSET(gr_pass, phase, 24);
OFFSET(gr_pass, self, 32);
OFFSET(gr_pass, run, 40);
SIZE(gr_pass, 48);

OFFSET(gr_plugin, struct_size, 0);
OFFSET(gr_plugin, name, 8);
OFFSET(gr_plugin, version, 16);
OFFSET(gr_plugin, doc, 24);
OFFSET(gr_plugin, operators, 32);
OFFSET(gr_plugin, num_operators, 40);
OFFSET(gr_plugin, kernels, 48);
OFFSET(gr_plugin, num_kernels, 56);
OFFSET(gr_plugin, losses, 64);
OFFSET(gr_plugin, num_losses, 72);
OFFSET(gr_plugin, optimizers, 80);
OFFSET(gr_plugin, num_optimizers, 88);
OFFSET(gr_plugin, regularizers, 96);
OFFSET(gr_plugin, num_regularizers, 104);
OFFSET(gr_plugin, schedules, 112);
OFFSET(gr_plugin, num_schedules, 120);
OFFSET(gr_plugin, datasets, 128);
OFFSET(gr_plugin, num_datasets, 136);
OFFSET(gr_plugin, transforms, 144);
OFFSET(gr_plugin, num_transforms, 152);
OFFSET(gr_plugin, metrics, 160);
OFFSET(gr_plugin, num_metrics, 168);
OFFSET(gr_plugin, passes, 176);
OFFSET(gr_plugin, num_passes, 184);
SIZE(gr_plugin, 192);

OFFSET(gr_entry, struct_size, 0);
OFFSET(gr_entry, abi_major, 8);
OFFSET(gr_entry, abi_minor, 12);
OFFSET(gr_entry, init, 16);
SIZE(gr_entry, 24);
#endif
