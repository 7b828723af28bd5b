/* graphrun's plugin interface: the one header that a plugin includes. C99; also C++.
 *
 * A plugin is a shared library that exports one symbol, the entry `graphrun_plugin`:
 *
 *   #include "graphrun_plugin.h"
 *   static const gr_host* host;
 *   ... tables ...
 *   static gr_status* init(const gr_host* h, const gr_plugin** plugin) {
 *     host = h;
 *     *plugin = &table;
 *     return NULL;
 *   }
 *   GR_PLUGIN(init);
 *
 *   cc -shared -fPIC -fvisibility=hidden -I... plugin.c -o libplugin.so
 *
 * It is loaded when it is named (--plugin PATH, GRAPHRUN_PLUGINS), never by a model, and never
 * unloaded: its tables and strings live as long as the process.
 *
 * Versions. A plugin carries the version of the header that it was compiled with. MAJOR must be the
 * host's; MINOR must not be above it. Structures only grow at their end, and each begins with its
 * size as its author's compiler saw it: fields beyond are read as zero. In arrays of structures all
 * elements have one size. What came later than 1.0 is marked so, up to the end of its structure or
 * the next such mark. Those without a size (gr_dim, gr_in_place) never change.
 *
 * Ownership. What is passed is borrowed for the call; what must live on is copied. What the host
 * hands out is valid until the callback that received it returns, unless it says otherwise. Strings
 * are UTF-8 and end in 0; a null string, list or function is one that is left out.
 *
 * Errors. A function that can fail returns a gr_status: null is success, an error is made by
 * gr_host.error and given to whoever called. No exception and no longjmp may leave a plugin (a C++
 * exception that does is reported as the plugin's error). GR_INVALID_ARGUMENT and GR_OUT_OF_RANGE
 * blame what the plugin was given, the model or the data; other codes the plugin.
 *
 * Threads. init runs once. Kernels, datasets and transforms may be called from several threads at
 * once, each call with its own contexts; everything else comes from one thread at a time.
 */
#ifndef GRAPHRUN_PLUGIN_H_
#define GRAPHRUN_PLUGIN_H_

#include <stddef.h>
#include <stdint.h>

#define GR_ABI_MAJOR 1
#define GR_ABI_MINOR 1

#if defined(__GNUC__)
#define GR_EXPORT __attribute__((visibility("default")))
#else
#define GR_EXPORT
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- words ---- */

/* Element types: ONNX's numbers. bool takes one byte; the types of 4 and 2 bits one byte each. */
enum {
  GR_UNDEFINED = 0,
  GR_FLOAT32 = 1,
  GR_UINT8 = 2,
  GR_INT8 = 3,
  GR_UINT16 = 4,
  GR_INT16 = 5,
  GR_INT32 = 6,
  GR_INT64 = 7,
  GR_STRING = 8, /* not in plugins */
  GR_BOOL = 9,
  GR_FLOAT16 = 10,
  GR_FLOAT64 = 11,
  GR_UINT32 = 12,
  GR_UINT64 = 13,
  GR_COMPLEX64 = 14,
  GR_COMPLEX128 = 15,
  GR_BFLOAT16 = 16,
  GR_FLOAT8E4M3FN = 17,
  GR_FLOAT8E4M3FNUZ = 18,
  GR_FLOAT8E5M2 = 19,
  GR_FLOAT8E5M2FNUZ = 20,
  GR_UINT4 = 21,
  GR_INT4 = 22,
  GR_FLOAT4E2M1 = 23,
  GR_FLOAT8E8M0 = 24,
  GR_UINT2 = 25,
  GR_INT2 = 26
};

/* Codes of errors: Abseil's numbers. */
enum {
  GR_CANCELLED = 1,
  GR_UNKNOWN = 2,
  GR_INVALID_ARGUMENT = 3,
  GR_DEADLINE_EXCEEDED = 4,
  GR_NOT_FOUND = 5,
  GR_ALREADY_EXISTS = 6,
  GR_PERMISSION_DENIED = 7,
  GR_RESOURCE_EXHAUSTED = 8,
  GR_FAILED_PRECONDITION = 9,
  GR_ABORTED = 10,
  GR_OUT_OF_RANGE = 11,
  GR_UNIMPLEMENTED = 12,
  GR_INTERNAL = 13,
  GR_UNAVAILABLE = 14,
  GR_DATA_LOSS = 15,
  GR_UNAUTHENTICATED = 16
};

typedef struct gr_status gr_status;     /* an error; null is success */
typedef struct gr_node gr_node;         /* a node of a graph, with its attributes and types */
typedef struct gr_infer gr_infer;       /* shape inference of a node */
typedef struct gr_prepare gr_prepare;   /* a kernel being made */
typedef struct gr_run gr_run;           /* a kernel's run */
typedef struct gr_builder gr_builder;   /* a place of a graph where nodes are written */
typedef struct gr_gradient gr_gradient; /* the gradient of a node being written */
typedef struct gr_graph gr_graph;       /* a graph that a pass changes */
typedef struct gr_random gr_random;     /* random numbers of one sample */

/* A value in the making, of the builder that gave it. 0 is "left out". */
typedef uint64_t gr_expr;

/* The size of an axis: a number; or value -1 and a symbol ("N"); or -1 and null, unknown. */
typedef struct gr_dim {
  int64_t value;
  const char* symbol;
} gr_dim;

/* A tensor in memory, row-major. */
typedef struct gr_tensor {
  size_t struct_size;
  int32_t dtype;
  int32_t rank;
  const int64_t* dims; /* [rank] */
  int64_t num_elements;
  void* data; /* what comes from the host as const must not be written */
} gr_tensor;

enum {
  GR_ATTR_NONE = 0, /* no such attribute */
  GR_ATTR_INT = 1,
  GR_ATTR_FLOAT = 2,
  GR_ATTR_STRING = 3,
  GR_ATTR_TENSOR = 4,
  GR_ATTR_INTS = 5,
  GR_ATTR_FLOATS = 6,
  GR_ATTR_STRINGS = 7
};

/* An attribute of a node and its value: the field of its kind. */
typedef struct gr_attr {
  size_t struct_size;
  const char* name;
  int32_t kind;
  size_t count; /* of ints, floats, strings */
  int64_t i;
  double f;
  const char* s;
  const gr_tensor* tensor;
  const int64_t* ints;
  const float* floats;
  const char* const* strings;
} gr_attr;

/* A hyper-parameter: a number that a recipe may set. Values outside [min, max] are refused (both 0:
 * any number). Functions receive all of them in the order of their declaration. */
typedef struct gr_parameter {
  size_t struct_size;
  const char* name;
  double fallback; /* where a recipe gives none */
  double min, max;
  const char* doc;
} gr_parameter;

/* ---- what the host offers: tables of functions, alive as long as the process ---- */

/* What can be asked of a node. Inputs and outputs count from 0; an attribute that the node leaves
 * out has its declared default. */
typedef struct gr_node_api {
  size_t struct_size;
  const char* (*name)(const gr_node*);
  const char* (*domain)(const gr_node*);
  const char* (*op_type)(const gr_node*);
  int32_t (*num_inputs)(const gr_node*);
  int32_t (*num_outputs)(const gr_node*);
  int32_t (*has_input)(const gr_node*, int32_t i);
  int32_t (*has_output)(const gr_node*, int32_t i);
  /* Types; rank -1 and GR_UNDEFINED where unknown. Sizes are numbers when kernels are prepared. */
  int32_t (*input_dtype)(const gr_node*, int32_t i);
  int32_t (*input_rank)(const gr_node*, int32_t i);
  gr_dim (*input_dim)(const gr_node*, int32_t i, int32_t axis);
  int32_t (*output_dtype)(const gr_node*, int32_t i);
  int32_t (*output_rank)(const gr_node*, int32_t i);
  gr_dim (*output_dim)(const gr_node*, int32_t i, int32_t axis);
  /* Attributes. The kind; then the value, or `otherwise` where there is none of that kind. */
  int32_t (*attr_kind)(const gr_node*, const char* name);
  int64_t (*attr_int)(const gr_node*, const char* name, int64_t otherwise);
  double (*attr_float)(const gr_node*, const char* name, double otherwise);
  const char* (*attr_string)(const gr_node*, const char* name, const char* otherwise);
  /* Lists: their elements, null with count 0 where there are none. */
  const int64_t* (*attr_ints)(const gr_node*, const char* name, size_t* count);
  const float* (*attr_floats)(const gr_node*, const char* name, size_t* count);
  const char* const* (*attr_strings)(const gr_node*, const char* name, size_t* count);
  const gr_tensor* (*attr_tensor)(const gr_node*, const char* name);
} gr_node_api;

/* Shape inference reads the inputs' types by gr_node_api. */
typedef struct gr_infer_api {
  size_t struct_size;
  /* Says what output i is. rank -1: unknown, `dims` is then not read. */
  gr_status* (*set_output)(gr_infer*, int32_t i, int32_t dtype, int32_t rank, const gr_dim* dims);
  /* Input i's elements where they are known already, else null. */
  const gr_tensor* (*constant)(gr_infer*, int32_t i);
  /* An integer input's elements as sizes (symbols included) and their number, -1 where unknown. */
  int32_t (*sizes)(gr_infer*, int32_t i, const gr_dim** dims);
  /* Says the elements of an integer output that holds sizes. */
  gr_status* (*set_sizes)(gr_infer*, int32_t i, int32_t count, const gr_dim* dims);
  /* NumPy's broadcast shape of inputs first..last. */
  gr_status* (*broadcast)(gr_infer*, int32_t first, int32_t last, int32_t* rank,
                          const gr_dim** dims);
} gr_infer_api;

typedef void (*gr_range_fn)(void* argument, int64_t begin, int64_t end);

/* Kernels: what `prepare` may ask and say, and what `run` sees. */
typedef struct gr_kernel_api {
  size_t struct_size;
  /* Says that this kernel does not take the node: the next one is asked. */
  void (*decline)(gr_prepare*);
  /* Bytes of memory that each run needs, aligned to 64. */
  gr_status* (*set_scratch)(gr_prepare*, int64_t bytes);
  const gr_tensor* (*constant)(gr_prepare*, int32_t i); /* null where not known */
  int32_t (*threads)(const gr_prepare*);                /* that runs will have */
  /* A run's tensors: null where left out. Data is aligned to 64 bytes. An output whose sizes
   * inference left open is null until resize_output says them. */
  const gr_tensor* (*input)(gr_run*, int32_t i);
  gr_tensor* (*output)(gr_run*, int32_t i);
  gr_status* (*resize_output)(gr_run*, int32_t i, int32_t rank, const int64_t* dims);
  void* (*scratch)(gr_run*);
  uint64_t (*seed)(const gr_run*); /* for random operators: of the run, ... */
  uint64_t (*step)(const gr_run*); /* ... and a counter that advances with every training step */
  /* Calls fn on parts of [0, n) of at least `grain`, in several threads; returns when all are
   * done. */
  void (*parallel_for)(int64_t n, int64_t grain, gr_range_fn fn, void* argument);
} gr_kernel_api;

typedef gr_expr (*gr_unary_fn)(gr_builder*, gr_expr);
typedef gr_expr (*gr_binary_fn)(gr_builder*, gr_expr, gr_expr);
typedef gr_expr (*gr_reduce_fn)(gr_builder*, gr_expr, const int64_t* axes, size_t count,
                                int32_t keepdims); /* no axes: over all */

/* Expressions: each function appends nodes and gives their result. What cannot be (types that do
 * not fit, an operator that does not exist) gives 0; the builder keeps the first error, the host
 * reports it when the callback returns, and everything built on that 0 is ignored. So callbacks
 * need not check. Broadcasting is NumPy's. */
typedef struct gr_expr_api {
  size_t struct_size;
  /* One node of the newest version of that operator. domain "" or null: ai.onnx. */
  gr_expr (*op)(gr_builder*, const char* domain, const char* op_type, const gr_expr* inputs,
                size_t num_inputs, const gr_attr* attrs, size_t num_attrs);
  /* The same with several outputs, written to outputs[0..num_outputs). */
  gr_status* (*ops)(gr_builder*, const char* domain, const char* op_type, const gr_expr* inputs,
                    size_t num_inputs, const gr_attr* attrs, size_t num_attrs, gr_expr* outputs,
                    size_t num_outputs);
  /* A formula over named values: "dy * y * (1 - y)", "where(x > 0, x, a * (exp(x) - 1))". Numbers
   * take the element type of what they meet. Functions: the names of this table. */
  gr_expr (*formula)(gr_builder*, const char* text, const char* const* names, const gr_expr* values,
                     size_t count);
  gr_expr (*number)(gr_builder*, double value, gr_expr like); /* a scalar of like's element type */
  gr_expr (*scalar)(gr_builder*, int32_t dtype, double value);
  gr_expr (*ints)(gr_builder*, const int64_t* values, size_t count); /* int64 [count] */
  gr_expr (*tensor)(gr_builder*, const gr_tensor* value);            /* copied */
  int32_t (*dtype)(gr_builder*, gr_expr); /* what is known: GR_UNDEFINED and -1 where nothing is */
  int32_t (*rank)(gr_builder*, gr_expr);
  gr_dim (*dim)(gr_builder*, gr_expr, int32_t axis);
  /* Fails the emission with this error, which is consumed. */
  void (*fail)(gr_builder*, gr_status* error);

  gr_binary_fn add, sub, mul, div, pow, max, min;
  gr_binary_fn less, less_equal, greater, greater_equal, equal, logical_and, logical_or;
  gr_unary_fn neg, abs, sign, exp, log, sqrt, square, reciprocal, sin, cos, tanh, sigmoid, erf,
      floor, relu, logical_not, identity;
  gr_expr (*where)(gr_builder*, gr_expr condition, gr_expr a, gr_expr b);
  gr_expr (*cast)(gr_builder*, gr_expr, int32_t dtype);
  gr_binary_fn cast_like; /* a in b's element type */

  gr_binary_fn matmul;
  gr_expr (*transpose)(gr_builder*, gr_expr, const int64_t* perm, size_t count);
  gr_expr (*reshape)(gr_builder*, gr_expr, const int64_t* dims, size_t count);
  gr_binary_fn reshape_to; /* a in the shape that the int64 tensor b holds */
  gr_unary_fn shape_of;    /* int64 [rank] */
  gr_expr (*dim_of)(gr_builder*, gr_expr, int32_t axis); /* int64 [1] */
  gr_binary_fn expand;                                   /* a broadcast to the shape in b */
  gr_expr (*squeeze)(gr_builder*, gr_expr, const int64_t* axes, size_t count);
  gr_expr (*unsqueeze)(gr_builder*, gr_expr, const int64_t* axes, size_t count);
  gr_expr (*concat)(gr_builder*, const gr_expr* parts, size_t count, int64_t axis);
  gr_expr (*slice)(gr_builder*, gr_expr, int64_t axis, int64_t begin, int64_t end);
  gr_expr (*gather)(gr_builder*, gr_expr data, gr_expr indices, int64_t axis);
  gr_reduce_fn reduce_sum, reduce_mean, reduce_max;
  gr_unary_fn zeros_like;
  gr_expr (*full_like)(gr_builder*, gr_expr, double value);
  gr_binary_fn sum_to; /* a summed over the axes along which b was broadcast to a's shape */
} gr_expr_api;

/* A gradient rule: given dL/dy, say dL/dx. Contributions are summed and broadcasting is undone by
 * the host: set_dx may be given the shape of the broadcast result. */
typedef struct gr_gradient_api {
  size_t struct_size;
  gr_builder* (*builder)(gr_gradient*);
  gr_expr (*x)(gr_gradient*, int32_t i);
  gr_expr (*y)(gr_gradient*, int32_t i);
  gr_expr (*dy)(gr_gradient*, int32_t i); /* zeros where no gradient flows */
  int32_t (*has_dy)(gr_gradient*, int32_t i);
  int32_t (*needs)(gr_gradient*, int32_t i); /* whether somebody wants dL/dx of input i */
  void (*set_dx)(gr_gradient*, int32_t i, gr_expr dx);
} gr_gradient_api;

/* Passes: nodes are those there were when the pass began, in an order in which producers come
 * first; they stay valid until it returns. */
typedef struct gr_graph_api {
  size_t struct_size;
  int32_t (*num_nodes)(gr_graph*);
  const gr_node* (*node)(gr_graph*, int32_t i);
  /* The node that makes input i and the number of its output; null for inputs and constants. */
  const gr_node* (*producer)(gr_graph*, const gr_node*, int32_t i, int32_t* output);
  const gr_tensor* (*constant)(gr_graph*, const gr_node*, int32_t i); /* null where not known */
  int32_t (*num_uses)(gr_graph*, const gr_node*, int32_t output); /* outputs of the graph count */
  /* Writes nodes in front of a node, which may use its inputs and what was made before it. */
  gr_builder* (*before)(gr_graph*, const gr_node*);
  gr_expr (*input)(gr_builder*, const gr_node*, int32_t i);
  gr_expr (*output)(gr_builder*, const gr_node*, int32_t i);
  /* Everybody who reads output i of the node reads `with` from now on. Nodes that nobody reads any
   * more are removed by the host. */
  gr_status* (*replace)(gr_builder*, const gr_node*, int32_t i, gr_expr with);
} gr_graph_api;

/* Draws that depend on the run's seed, the epoch, the row and the transform's place only. */
typedef struct gr_random_api {
  size_t struct_size;
  double (*uniform)(gr_random*); /* [0, 1) */
  double (*normal)(gr_random*);
  uint64_t (*below)(gr_random*, uint64_t n); /* [0, n), 0 for n = 0 */
} gr_random_api;

typedef struct gr_host {
  size_t struct_size;
  uint32_t abi_major, abi_minor;
  const char* version; /* of graphrun: "0.1.0" */
  /* An error; the message says what is wrong, what was received and what to do. */
  gr_status* (*error)(int32_t code, const char* message);
  /* Errors that a plugin received and does not hand on. */
  int32_t (*error_code)(const gr_status*);
  const char* (*error_message)(const gr_status*);
  void (*error_free)(gr_status*);
  const gr_node_api* node;
  const gr_infer_api* infer;
  const gr_kernel_api* kernel;
  const gr_expr_api* expr;
  const gr_gradient_api* gradient;
  const gr_graph_api* graph;
  const gr_random_api* random;
} gr_host;

/* ---- what a plugin offers: tables; `self` is handed back to its functions ---- */

enum { GR_SINGLE = 0, GR_OPTIONAL = 1, GR_VARIADIC = 2 };

/* What a trained tensor that feeds an input is. Regularizers leave all but weights out. */
enum { GR_BY_RANK = 0, GR_WEIGHT = 1, GR_BIAS = 2, GR_NORMALIZATION = 3, GR_STATISTIC = 4 };

/* An input or output of an operator. */
typedef struct gr_argument {
  size_t struct_size;
  const char* name;
  const char* type;  /* a variable of gr_operator.types, or an element type ("float32"), or "any" */
  int32_t arity;     /* only the last may be variadic */
  int32_t role;      /* GR_BY_RANK: a weight where the rank is above 1, else a bias */
  int32_t unit_axis; /* of a weight: the axis that counts output units */
  const char* doc;
} gr_argument;

/* A type variable and the element types that it ranges over. */
typedef struct gr_type {
  size_t struct_size;
  const char* variable;
  const int32_t* dtypes;
  size_t num_dtypes;
} gr_type;

typedef struct gr_attr_spec {
  size_t struct_size;
  const char* name;
  int32_t kind;
  int32_t required;
  const gr_attr* fallback; /* null: none */
  const char* doc;
} gr_attr_spec;

/* Output `output` may take the memory of input `input` where their sizes agree. */
typedef struct gr_in_place {
  int32_t input, output;
} gr_in_place;

typedef struct gr_kernel {
  size_t struct_size;
  const char* name;   /* "avx2"; kernels for other element types may share it */
  const char* domain; /* of gr_plugin.kernels only: the operator that it is for */
  const char* op_type;
  const int32_t* dtypes; /* element types of the first input that it takes; none: all */
  size_t num_dtypes;
  void* self;
  /* Optional. Sees concrete types; makes what its runs need, or declines. */
  gr_status* (*prepare)(void* self, const gr_node*, gr_prepare*, void** state);
  gr_status* (*run)(void* self, const void* state, gr_run*);
  void (*destroy)(void* self, void* state);
} gr_kernel;

enum { GR_FILL_NORMAL = 0, GR_FILL_UNIFORM = 1, GR_FILL_TENSOR = 2, GR_FILL_OMITTED = 3 };

/* An input of a sample. Drawn floats, and float32 tensors, take the element type under test. */
typedef struct gr_sample_input {
  size_t struct_size;
  int32_t fill;
  int32_t rank;
  const int64_t* dims;
  double low, high;        /* GR_FILL_UNIFORM: keep away from kinks and poles */
  const gr_tensor* tensor; /* GR_FILL_TENSOR */
  int32_t constant;        /* known when the plan is made */
} gr_sample_input;

/* Inputs and attributes on which the conformance test tries an operator. */
typedef struct gr_sample {
  size_t struct_size;
  const gr_sample_input* inputs;
  size_t num_inputs;
  const gr_attr* attrs;
  size_t num_attrs;
  int32_t num_outputs;     /* 0: one */
  const char* no_gradient; /* why the gradient is not compared here (a kink) */
  const char* no_compare;  /* why results are not compared (random) */
  const char* refused;     /* inference or preparation must fail with these words */
  const gr_tensor* gives;  /* output 0 must be this */
} gr_sample;

enum { GR_INFER_FUNCTION = 0, GR_INFER_SAME_AS_INPUT = 1, GR_INFER_BROADCAST = 2 };

enum {
  GR_OP_RANDOM = 1, /* every run gives other numbers, or has an effect: not folded, not merged */
  GR_OP_VIEW = 2    /* output 0 is input 0's elements in the same order under other sizes */
};

/* An operator needs shape inference, and kernels, or a body, or both. The body is also what stock
 * runtimes get on export; written of elementwise operators it is fused like a built-in one. */
typedef struct gr_operator {
  size_t struct_size;
  const char* domain; /* your own: not ai.onnx, not ai.graphrun */
  const char* name;
  int32_t since_version; /* of the domain's operator set; 0: 1 */
  uint32_t flags;
  const char* doc;
  const gr_argument* inputs;
  size_t num_inputs;
  const gr_argument* outputs;
  size_t num_outputs;
  const gr_type* types;
  size_t num_types;
  const gr_attr_spec* attrs;
  size_t num_attrs;
  void* self;
  int32_t infer_rule; /* GR_INFER_...: with another than FUNCTION, `infer` is not called */
  gr_status* (*infer)(void* self, const gr_node*, gr_infer*);
  const gr_kernel* kernels; /* in order of preference */
  size_t num_kernels;
  gr_status* (*gradient)(void* self, const gr_node*, gr_gradient*);
  const char* not_differentiable; /* why there is no gradient ("integer result") */
  const int32_t* no_gradient_for; /* inputs that no gradient is asked of (indices, shapes) */
  size_t num_no_gradient_for;
  /* The body: writes outputs[0..num_outputs) from inputs (0 where left out). */
  gr_status* (*body)(void* self, const gr_node*, gr_builder*, const gr_expr* inputs,
                     gr_expr* outputs);
  /* Or as text, in ONNX's syntax of functions: inputs, outputs and attributes have the names above.
   * "{ s = Sigmoid(x)  y = Mul(x, s) }" */
  const char* body_text;
  const gr_in_place* in_place;
  size_t num_in_place;
  const gr_sample* samples;
  size_t num_samples;
} gr_operator;

enum { GR_TARGET_CLASS = 0, GR_TARGET_VALUES = 1 };
enum { GR_LINK_NONE = 0, GR_LINK_SOFTMAX = 1, GR_LINK_LOG_SOFTMAX = 2, GR_LINK_SIGMOID = 3 };

typedef struct gr_loss_inputs {
  size_t struct_size;
  gr_expr output;
  gr_expr target;        /* CLASS: int64 without axis 1; VALUES: of the output's type and shape */
  gr_expr class_weights; /* [classes]; 0: all 1 */
  int32_t logits;        /* whether `output` is before the link's activation */
} gr_loss_inputs;

typedef struct gr_loss {
  size_t struct_size;
  const char* name;
  const char* doc;
  const gr_parameter* params;
  size_t num_params;
  int32_t target;
  int32_t link; /* the activation that it takes the input of, where the model ends in it */
  void* self;
  /* A scalar of the output's element type: the mean over the batch. */
  gr_status* (*emit)(void* self, const double* params, gr_builder*, const gr_loss_inputs*,
                     gr_expr* loss);
} gr_loss;

/* Memory of an optimizer for each parameter: of its shape, or a scalar. */
typedef struct gr_slot {
  size_t struct_size;
  const char* name;
  double initial;
  int32_t scalar;
} gr_slot;

/* All of the parameter's element type but `step`, a float64 scalar: 1 in the first update. */
typedef struct gr_update {
  size_t struct_size;
  gr_expr parameter;
  gr_expr gradient; /* clipped, with the regularizers' terms */
  const gr_expr* slots;
  gr_expr lr; /* scalar */
  gr_expr step;
} gr_update;

typedef struct gr_optimizer {
  size_t struct_size;
  const char* name;
  const char* doc;
  const gr_parameter* params;
  size_t num_params;
  double default_lr;
  const gr_slot* slots;
  size_t num_slots;
  void* self;
  /* The next parameter, and the next value of each slot in slots[0..num_slots). */
  gr_status* (*emit)(void* self, const double* params, gr_builder*, const gr_update*,
                     gr_expr* parameter, gr_expr* slots);
} gr_optimizer;

/* At least one of the three functions. w is of any float type; unit_axis is its axis that counts
 * output units. */
typedef struct gr_regularizer {
  size_t struct_size;
  const char* name;
  const char* doc;
  const gr_parameter* params;
  size_t num_params;
  void* self;
  /* The penalty's part of the gradient, of w's shape. */
  gr_status* (*gradient)(void* self, const double* params, gr_builder*, gr_expr w,
                         int32_t unit_axis, gr_expr* out);
  /* The penalty, a scalar, for reports. */
  gr_status* (*penalty)(void* self, const double* params, gr_builder*, gr_expr w, int32_t unit_axis,
                        gr_expr* out);
  /* What becomes of `next`, the updated w. */
  gr_status* (*after_update)(void* self, const double* params, gr_builder*, gr_expr next, gr_expr w,
                             gr_expr lr, int32_t unit_axis, gr_expr* out);
} gr_regularizer;

/* Expressions are float64 scalars. */
typedef struct gr_schedule_inputs {
  size_t struct_size;
  gr_expr step; /* 0 in the first update after warmup */
  double lr;    /* the base learning rate */
  int64_t steps_per_epoch;
  int64_t total_steps;
  gr_expr host_scale; /* a factor that the host sets; 1 at first */
} gr_schedule_inputs;

typedef struct gr_schedule {
  size_t struct_size;
  const char* name;
  const char* doc;
  const gr_parameter* params;
  size_t num_params;
  void* self;
  gr_status* (*emit)(void* self, const double* params, gr_builder*, const gr_schedule_inputs*,
                     gr_expr* lr);
} gr_schedule;

enum { GR_FEATURE = 0, GR_TARGET = 1 };

/* One field of every row. */
typedef struct gr_field {
  size_t struct_size;
  const char* name;
  int32_t dtype;
  int32_t role;
  int32_t rank; /* of one row: 0 for a class label */
  const int64_t* dims;
  const char* const* classes; /* names by class index; may be null */
  size_t num_classes;
  double range;     /* the largest value in the nature of the thing: 255 for pixels; 0: 1 */
  const void* rows; /* all rows of the field, one after the other; null: asked by `get` */
} gr_field;

/* Rows that a dataset opened, until `close`. */
typedef struct gr_rows {
  size_t struct_size;
  const gr_field* fields;
  size_t num_fields;
  int64_t num_rows;
  void* state;
  /* Writes field i of a row to out[i]; a null out[i] is a field that nobody wants. */
  gr_status* (*get)(void* state, int64_t row, void* const* out);
} gr_rows;

typedef struct gr_dataset_request {
  size_t struct_size;
  const char* path;
  const char* target; /* columns that the recipe names, comma separated; "" where it names none */
  const char* features;
  /* since 1.1 */
  const char* const* option_names; /* the recipe's data.option: names and values */
  const char* const* option_values;
  size_t num_options;
} gr_dataset_request;

typedef struct gr_dataset {
  size_t struct_size;
  const char* name; /* the recipe's data.format */
  const char* doc;
  const char* suffixes; /* of paths that it takes where no format is named: ".db,.sqlite" */
  void* self;
  gr_status* (*open)(void* self, const gr_dataset_request*, const gr_rows** rows);
  void (*close)(void* self, const gr_rows*);
} gr_dataset;

enum { GR_MAX_RANK = 8 };

/* A random change of samples, one by one or in batches: in a specification "name:p0:p1". One of
 * apply and apply_batch. */
typedef struct gr_transform {
  size_t struct_size;
  const char* name;
  const char* doc;
  const gr_parameter* params;
  size_t num_params;
  void* self;
  /* Sizes of the result: dims[0..rank), at most GR_MAX_RANK; null: those of the input. */
  gr_status* (*output_dims)(void* self, const double* params, int32_t rank, const int64_t* dims,
                            int32_t* out_rank, int64_t* out_dims);
  /* float32, row-major; the two do not overlap. `range` is gr_field.range. */
  gr_status* (*apply)(void* self, const double* params, gr_random*, double range, int32_t rank,
                      const int64_t* dims, const float* input, float* output);
  /* since 1.1 */
  /* Changes fields [rows, sample...] in place; roles are GR_FEATURE and GR_TARGET. A field that
   * nobody wants has no data. */
  gr_status* (*apply_batch)(void* self, const double* params, gr_random*, const gr_tensor* fields,
                            const int32_t* roles, size_t count);
} gr_transform;

/* A number that says how good predictions are, over the batches since `create` or `reset`. */
typedef struct gr_metric {
  size_t struct_size;
  const char* name;
  const char* doc;
  int32_t higher_is_better;
  void* self;
  gr_status* (*create)(void* self, void** state);
  gr_status* (*update)(void* self, void* state, const gr_tensor* prediction,
                       const gr_tensor* target, int32_t logits);
  double (*value)(void* self, void* state); /* NaN where there is nothing to say */
  void (*reset)(void* self, void* state);
  void (*destroy)(void* self, void* state);
} gr_metric;

enum { GR_PASS_CANONICAL = 0, GR_PASS_FUSE = 1, GR_PASS_POINTWISE = 2 };

/* A rewrite of graphs whose types are inferred, in every plan that is made. */
typedef struct gr_pass {
  size_t struct_size;
  const char* name;
  const char* doc;
  int32_t phase;
  void* self;
  gr_status* (*run)(void* self, gr_graph*);
} gr_pass;

typedef struct gr_plugin {
  size_t struct_size;
  const char* name;    /* "kan": letters, digits, - and _ */
  const char* version; /* "1.2.0" */
  const char* doc;
  const gr_operator* operators;
  size_t num_operators;
  const gr_kernel* kernels; /* for operators that graphrun has; asked before its own */
  size_t num_kernels;
  const gr_loss* losses;
  size_t num_losses;
  const gr_optimizer* optimizers;
  size_t num_optimizers;
  const gr_regularizer* regularizers;
  size_t num_regularizers;
  const gr_schedule* schedules;
  size_t num_schedules;
  const gr_dataset* datasets;
  size_t num_datasets;
  const gr_transform* transforms;
  size_t num_transforms;
  const gr_metric* metrics;
  size_t num_metrics;
  const gr_pass* passes;
  size_t num_passes;
} gr_plugin;

/* The exported symbol. Read before any function of the plugin is called. */
typedef struct gr_entry {
  size_t struct_size;
  uint32_t abi_major, abi_minor;
  gr_status* (*init)(const gr_host*, const gr_plugin** plugin);
} gr_entry;

extern GR_EXPORT const gr_entry graphrun_plugin;

#define GR_PLUGIN(init) \
  const gr_entry graphrun_plugin = {sizeof(gr_entry), GR_ABI_MAJOR, GR_ABI_MINOR, init}

#ifdef __cplusplus
}
#endif

#endif /* GRAPHRUN_PLUGIN_H_ */
