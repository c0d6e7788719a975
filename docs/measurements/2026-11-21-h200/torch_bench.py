# Times the PyTorch counterparts of what gable bench timed, on the same machine within minutes: random data, L2 flushed.
import torch, json
torch.backends.cuda.matmul.allow_tf32=False; torch.backends.cudnn.allow_tf32=False
flush=torch.empty(256<<20,dtype=torch.int8,device='cuda')
def t(f,n=30):
    for _ in range(5): f()
    ts=[]
    for _ in range(n):
        flush.zero_(); s=torch.cuda.Event(True); e=torch.cuda.Event(True); s.record(); f(); e.record(); torch.cuda.synchronize(); ts.append(s.elapsed_time(e)*1e3)
    ts.sort(); return ts[len(ts)//2], ts[len(ts)//4], ts[3*len(ts)//4]
r=lambda *s,d=torch.float32: torch.randn(*s,device='cuda').to(d)
def show(name,f):
    m,a,b=t(f); print(f"torch {name:16} {m:9.2f} us ({a:.2f} .. {b:.2f})",flush=True)
x=r(8192,8192); y=r(8192,8192); show('map_add',lambda:x+y); show('map_gelu',lambda:torch.nn.functional.gelu(x)); show('transpose',lambda:x.t().contiguous())
x=r(16384,4096); show('reduce_last',lambda:x.sum(1)); show('reduce_first',lambda:x.sum(0)); show('softmax',lambda:torch.softmax(x,1))
x=r(524288,128); show('softmax_short',lambda:torch.softmax(x,1)); x=r(1024,65536); show('softmax_long',lambda:torch.softmax(x,1))
x=r(65536,1024);s=r(1024);b=r(1024); show('layer_norm',lambda:torch.nn.functional.layer_norm(x,(1024,),s,b))
x=r(32768,4096,d=torch.bfloat16);s=r(4096,d=torch.bfloat16); show('rms_norm_bf16',lambda:torch.nn.functional.rms_norm(x,(4096,),s))
a=r(4096,4096,d=torch.bfloat16);b=r(4096,4096,d=torch.bfloat16); show('matmul_bf16',lambda:a@b)
a=r(4096,4096);b=r(4096,4096); show('matmul_f32',lambda:a@b)
from transformers import BertConfig, BertModel
m=BertModel(BertConfig(vocab_size=30522,hidden_size=384,num_hidden_layers=6,num_attention_heads=12,intermediate_size=1536),add_pooling_layer=False).cuda().eval()
ids=torch.randint(0,30522,(32,128),device='cuda'); mask=torch.ones(32,128,dtype=torch.long,device='cuda')
with torch.no_grad():
    for nm,mm in (('fp32',m),('bf16',m.bfloat16())):
        pass
    m=m.float(); f=lambda:m(input_ids=ids,attention_mask=mask).last_hidden_state
    show('minilm eager f32',f)
    c=torch.compile(m,mode='max-autotune'); f2=lambda:c(input_ids=ids,attention_mask=mask).last_hidden_state
    try:
        f2(); show('minilm compile f32',f2)
    except Exception as ex: print('compile f32 failed',str(ex)[:200])
    mb=m.bfloat16(); f=lambda:mb(input_ids=ids,attention_mask=mask).last_hidden_state
    show('minilm eager bf16',f)
    c=torch.compile(mb,mode='max-autotune'); f2=lambda:c(input_ids=ids,attention_mask=mask).last_hidden_state
    try:
        f2(); show('minilm compile bf16',f2)
    except Exception as ex: print('compile bf16 failed',str(ex)[:200])
print(torch.__version__)
