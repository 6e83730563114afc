package decode
import ("testing";"math/rand";"strings";"fmt";"os";"reflect";"strconv"
 sigsyaml "sigs.k8s.io/yaml")
func TestZZ(t *testing.T){
 n,_:=strconv.Atoi(os.Getenv("ZZ")); if n==0 {t.Skip()}
 seed,_:=strconv.Atoi(os.Getenv("SEED"))
 rnd:=rand.New(rand.NewSource(int64(seed)))
 var pool []string
 pool=append(pool,documents...); for _,s:=range scalars { if !strings.Contains(s,"\n  ") || true {pool=append(pool,"a: "+s+"\n")}}
 toks:=[]string{" ","  ","\n","\n  ",":",": ","- ","-","#"," #","\"","'","[","]","{","}",",",", ","|","|-","|+",">","&a","*a","!","!!","!!str ","!!int","?","? ","%","@","`","\t","<<","<<: *a","~","null","yes","0x","_","1",".","e","\\","\\\"","\\x","é","\u2028","\u0085","\r","\r\n","...","\n...\n","a","b: c","\n\n","=","/","%YAML 1.1","--","+","(",";"}
 seen:=map[string]bool{}
 for i:=0;i<n;i++{
  d:=pool[rnd.Intn(len(pool))]
  if rnd.Intn(4)==0 { d+=pool[rnd.Intn(len(pool))] }
  for k:=rnd.Intn(4);k>=0;k--{
   p:=rnd.Intn(len(d)+1)
   switch rnd.Intn(4){
   case 0: q:=p+rnd.Intn(3); if q>len(d){q=len(d)}; d=d[:p]+d[q:]
   case 1,2: d=d[:p]+toks[rnd.Intn(len(toks))]+d[p:]
   case 3: if len(d)>0 {q:=rnd.Intn(len(d)); l:=rnd.Intn(8); if q+l>len(d){l=len(d)-q}; d=d[:p]+d[q:q+l]+d[p:]}
   }
  }
  if strings.Contains(d,"\n---")||strings.HasPrefix(d,"---")||strings.IndexByte(d,0)>=0||len(d)>2000 {continue}
  msg:=func() string {
   doc:=text(d); whole:=d; if doc.ended!=""{whole=doc.ended}
   got,err:=doc.Decode()
   if f,_,st,ok:=doc.block(whole,false);ok{ s,_,st2,e:=doc.yaml(whole,false); if e!=nil||!reflect.DeepEqual(f,s)||f!=nil&&st!=st2 {return fmt.Sprintf("FASTSLOW %v",e)}
     _,fr,_,_:=doc.block(whole,true);_,sr,_,_:=doc.yaml(whole,true); if f!=nil&&!reflect.DeepEqual(fr,sr){return "PLACES "+dump(fr)+" VS "+dump(sr)} }
   if err!=nil {return ""}
   if strings.HasPrefix(strings.TrimLeft(d," \t\r\n"),"["){ return ""}
   sent,err:=sigsyaml.YAMLToJSON([]byte(whole)); if err!=nil {return "REFUSED "+err.Error()}
   if w:=apiValue(t,sent);!reflect.DeepEqual(got.Value,w){return fmt.Sprintf("VALUE %#v want %#v",got.Value,w)}
   return ""}()
  if msg!=""{ k:=msg; if strings.HasPrefix(k,"REFUSED"){ k=strings.Map(func(r rune)rune{if r>='0'&&r<='9'{return -1};return r},k)} else {k=k[:4]+fmt.Sprint(len(seen))}
   if !seen[k]&&len(seen)<12{seen[k]=true; fmt.Printf("%q\n   %.300s\n",d,msg)}}
 }
}
